package layout

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
)

func lay(t *testing.T, profile string) Layout {
	t.Helper()
	l, err := New(profile, 18400, "127.0.0.1:8450")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNoAddressIsUsedTwice(t *testing.T) {
	for _, profile := range []string{Three, Two} {
		l := lay(t, profile)
		seen := l.Ports()
		for _, e := range l.Edges() {
			if who, ok := seen[e.Listen]; ok {
				t.Errorf("%s: %s is for %s and %s", profile, e.Listen, e.Name(), who)
			}
			seen[e.Listen] = e.Name()
		}
	}
}

// cut lists the cables that do not pass, in order.
func cut(l Layout, faults ...Fault) string {
	modes := l.Modes(faults)
	var out []string
	for _, e := range l.Edges() {
		if m := modes[e.Name()]; m != (proxy.Mode{}) {
			out = append(out, e.Name()+"="+m.String())
		}
	}
	return strings.Join(out, " ")
}

func TestFaultsOnCables(t *testing.T) {
	f := func(profile, args, want string) {
		t.Helper()
		l := lay(t, profile)
		words := strings.Fields(args)
		oneWay := false
		if n := len(words) - 1; words[n] == "--one-way" {
			words, oneWay = words[:n], true
		}
		fault, err := l.Parse(words, oneWay, 0)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			return
		}
		if got := cut(l, fault); got != want {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
	}
	f(Three, "fra kill", "")
	f(Three, "fra edge", "users:director>fra=cut probe:ams>fra=cut probe:waw>fra=cut")
	f(Three, "fra uplink", "uplink:fra>server=cut")
	f(Two, "all uplink", "uplink:fra>server=cut uplink:ams>server=cut uplink:lon>server=cut")
	f(Three, "fra link ams", "probe:fra>ams=cut probe:ams>fra=cut bus:fra>ams=cut bus:ams>fra=cut")
	f(Three, "fra link ams --one-way", "probe:fra>ams=one-way bus:fra>ams=one-way")
	f(Two, "lon link ams", "probe:lon>ams=cut")
	f(Two, "ams loss 20", "users:director>ams=pass, 20 % loss probe:fra>ams=pass, 20 % loss probe:ams>fra=pass, 20 % loss "+
		"probe:lon>ams=pass, 20 % loss bus:fra>ams=pass, 20 % loss bus:ams>fra=pass, 20 % loss uplink:ams>server=pass, 20 % loss")
}

func TestFaultsAddUp(t *testing.T) {
	l := lay(t, Three)
	modes := l.Modes([]Fault{{Site: "fra", Kind: Loss, Amount: 5}, {Site: "fra", Kind: EdgeDown}, {Site: "fra", Kind: Loss, Amount: 2}})
	if got := modes["users:director>fra"]; got != (proxy.Mode{Kind: proxy.Cut, Loss: 0.05}) {
		t.Errorf("got %v", got)
	}
}

func TestParseSaysWhatWouldBeRight(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		_, err := lay(t, Two).Parse(strings.Fields(args), false, 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", args, err, want)
		}
	}
	f("fra", "SITE KIND")
	f("fra burn", "choose kill,")
	f("par kill", "choose fra, ams, lon")
	f("all kill", "for one site")
	f("lon slow", "is a witness")
	f("fra link", "one other site")
	f("fra link fra", "one other site")
	f("fra loss x", "a number above 0")
	f("fra loss NaN", "a number above 0")
	f("fra loss 101", "up to 100")
	f("fra slow soon", "such as 800ms")
	f("fra kill now", "no argument")
	f("fra pause 1 2", "one argument")
}

func TestParseDefaults(t *testing.T) {
	f := func(args, want string, lasts time.Duration) {
		t.Helper()
		got, err := lay(t, Three).Parse(strings.Fields(args), false, 0)
		if err != nil || got.String() != want || got.For != lasts {
			t.Errorf("%q: got %q for %s, %v", args, got.String(), got.For, err)
		}
	}
	f("fra loss", "fra loss 5", 0)
	f("link fra ams", "fra link ams", 0)
	f("all errors", "all errors 30", 0)
	f("fra slow", "fra slow 800ms", 0)
	f("fra pause", "fra pause 4", 4*time.Second)
	f("fra pause 1.5", "fra pause 1.5", 1500*time.Millisecond)
}

func TestConfigIsYAMLOfTheContract(t *testing.T) {
	for _, profile := range []string{Three, Two} {
		for _, shipped := range []bool{false, true} {
			text := lay(t, profile).Config(ServerConf{KeyFile: "/data/director.key", Shipped: shipped, Capacity: 120, Trough: 24})
			var doc map[string]any
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if doc["lab"] == true && shipped || doc["lab"] == nil && !shipped {
				t.Errorf("shipped %v: lab is %v", shipped, doc["lab"])
			}
			if n := len(doc["policies"].([]any)); n != 5 {
				t.Errorf("%d policies", n)
			}
		}
	}
}

func TestPatienceIsLongEnoughForOneUser(t *testing.T) {
	f := func(profile string, weight, users int, trough float64, want int) {
		t.Helper()
		if got := lay(t, profile).patience(weight, users, trough); got != want {
			t.Errorf("%s at %d %%: %d s, want %d", profile, weight, got, want)
		}
	}
	f(Three, 1, 1, 24, 11) // every 201st request, at 24 a second
	f(Two, 1, 1, 24, 6)
	f(Three, 10, 2, 24, 4)
	f(Three, 1, 1, 4, 66)
	f(Three, 1, 1, 0.4, 300)
}
