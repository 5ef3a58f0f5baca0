package layout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
)

func lay(t *testing.T, profile string) Layout {
	t.Helper()
	l, err := New(profile, 18400, "127.0.0.1:8450", 1)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wide is a lab with three replicas.
func wide(t *testing.T, profile string) Layout {
	t.Helper()
	l, err := New(profile, 18400, "127.0.0.1:8450", 3)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNoAddressIsUsedTwice(t *testing.T) {
	for _, l := range []Layout{lay(t, Three), lay(t, Two), wide(t, Three), wide(t, Two)} {
		profile := fmt.Sprintf("%s, %d", l.Profile, l.Replicas)
		seen := l.Ports()
		seen[l.Server] = "the server"
		if want := 2 + len(l.Servers()) + max(0, 2*l.Replicas-1) + 3*len(l.Sites) + 2*len(l.Vantages()) + 1; len(seen) != want {
			t.Errorf("%s: %d addresses, want %d: %v", profile, len(seen), want, seen)
		}
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

// A replica stands at a place: what happens on the lines of the place happens on those to the replica.
func TestFaultsOnCablesToReplicas(t *testing.T) {
	f := func(profile, args, want string) {
		t.Helper()
		l := wide(t, profile)
		words, oneWay := strings.CutSuffix(args, " --one-way")
		fault, err := l.Parse(strings.Fields(words), oneWay, 0)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			return
		}
		if got := cut(l, fault); got != want {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
	}
	f(Three, "fra kill", "")
	f(Three, "r1 kill", "")
	f(Three, "fra uplink", "uplink:fra>r1=cut uplink:fra>r2=cut uplink:fra>r3=cut")
	f(Three, "fra edge", "users:director>fra=cut probe:ams>fra=cut probe:waw>fra=cut")
	f(Three, "fra link ams", "probe:fra>ams=cut probe:ams>fra=cut bus:fra>ams=cut bus:ams>fra=cut uplink:fra>r2=cut uplink:ams>r1=cut")
	f(Three, "fra link ams --one-way", "probe:fra>ams=one-way bus:fra>ams=one-way uplink:fra>r2=one-way")
	f(Two, "ams link lon", "probe:lon>ams=cut uplink:ams>r3=cut uplink:lon>r2=cut")
	f(Two, "lon loss 20", "probe:lon>fra=pass, 20 % loss probe:lon>ams=pass, 20 % loss uplink:fra>r3=pass, 20 % loss "+
		"uplink:ams>r3=pass, 20 % loss uplink:lon>r1=pass, 20 % loss uplink:lon>r2=pass, 20 % loss uplink:lon>r3=pass, 20 % loss")
}

func TestReplicasStandApart(t *testing.T) {
	f := func(profile, want string) {
		t.Helper()
		var got []string
		for _, s := range wide(t, profile).Servers() {
			got = append(got, strings.Join([]string{s.Name, s.At, s.Process(), s.URL(), s.Peer, s.Admin}, " "))
		}
		if got := strings.Join(got, "\n"); got != want {
			t.Errorf("%s:\n%s", profile, got)
		}
	}
	f(Three, `r1 fra server-r1 http://127.0.0.1:8450 127.0.0.1:18420 127.0.0.1:18402
r2 ams server-r2 http://127.0.0.1:18411 127.0.0.1:18421 127.0.0.1:18403
r3 waw server-r3 http://127.0.0.1:18412 127.0.0.1:18422 127.0.0.1:18404`)
	f(Two, `r1 fra server-r1 http://127.0.0.1:8450 127.0.0.1:18420 127.0.0.1:18402
r2 ams server-r2 http://127.0.0.1:18411 127.0.0.1:18421 127.0.0.1:18403
r3 lon server-r3 http://127.0.0.1:18412 127.0.0.1:18422 127.0.0.1:18404`)
	one := lay(t, Three)
	if s := one.Servers(); len(s) != 1 || s[0].Process() != "server" || s[0].Listen != one.Server || s[0].Admin != "127.0.0.1:18402" {
		t.Errorf("one server: %+v", s)
	}
	if got := wide(t, Two).Uplinks("lon"); strings.Count(got, "http://127.0.0.1:") != 3 {
		t.Errorf("the agent's servers are %s", got)
	}
	if _, err := New(Three, 18400, "127.0.0.1:8450", 2); err == nil || !strings.Contains(err.Error(), "choose 1 or 3") {
		t.Errorf("two replicas: %v", err)
	}
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
	f("fra lag 0", "a number above 0")
	f("fra lag 1 2", "one argument")
	f("r1 kill", "no replica r1: choose fra, ams, lon, or start one with three")
	for args, want := range map[string]string{
		"r4 kill": "choose fra, ams, waw, r1, r2, r3", "r1 slow": "choose kill, pause or restart", "all kill": "for one site",
		"fra link r2": "one other site", "r2 kill now": "no argument",
	} {
		if _, err := wide(t, Three).Parse(strings.Fields(args), false, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", args, err, want)
		}
	}
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
	f("fra lag", "fra lag", 0)
	f("fra lag 2.5", "fra lag 2.5", 0)
	f("fra pause", "fra pause 4", 4*time.Second)
	f("fra pause 1.5", "fra pause 1.5", 1500*time.Millisecond)
	if got, err := wide(t, Three).Parse([]string{"kill", "r2"}, false, 0); err != nil || got.String() != "r2 kill" || !got.Concerns("r2") || got.Concerns("ams") {
		t.Errorf("got %q, %v", got.String(), err)
	}
}

func TestConfigIsYAMLOfTheContract(t *testing.T) {
	schema := jsonschema.NewCompiler().MustCompile("../../../../server/internal/app/config/schema.json")
	for _, profile := range []string{Three, Two} {
		for _, shipped := range []bool{false, true} {
			text := lay(t, profile).Config(ServerConf{KeyFile: "/data/director.key", Shipped: shipped, Capacity: 120, Trough: 24})
			var doc map[string]any
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%v in\n%s", err, text)
			}
			if doc["lab"] == true && shipped || doc["lab"] == nil && !shipped {
				t.Errorf("shipped %v: lab is %v", shipped, doc["lab"])
			}
			if n := len(doc["policies"].([]any)); n != 5 {
				t.Errorf("%d policies", n)
			}
			if doc["replicas"] != nil || doc["ledger"] != nil {
				t.Errorf("one server has replicas:\n%s", text)
			}
		}
		text := wide(t, profile).Config(ServerConf{KeyFile: "/data/director.key", Capacity: 120, Trough: 24})
		var doc struct {
			Ledger   struct{ Pattern string }
			Replicas []struct{ Name, At, Peer, URL string }
		}
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if doc.Ledger.Pattern != "same-city" || len(doc.Replicas) != 3 || doc.Replicas[1].At != "ams" ||
			doc.Replicas[1].Peer != "https://127.0.0.1:18421" || doc.Replicas[1].URL != "http://127.0.0.1:18411" {
			t.Errorf("%+v", doc)
		}
	}
}

// A slow site is asked about: what its users feel comes from a calibrated detector, and is known to come from the edge.
func TestLatencyMayStandBesideProbes(t *testing.T) {
	var doc struct {
		Watches []struct{ Name, Query, Model string }
	}
	if err := yaml.Unmarshal([]byte(lay(t, Three).Config(ServerConf{KeyFile: "/data/director.key", Capacity: 120, Trough: 24})), &doc); err != nil {
		t.Fatal(err)
	}
	for _, w := range doc.Watches {
		if w.Name == "edge-latency" {
			if !strings.Contains(w.Query, "by (site,") || (w.Model != "" && w.Model != "auto") {
				t.Errorf("%+v", w)
			}
			return
		}
	}
	t.Error("there is no watch of latency")
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
