package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

var update = flag.Bool("update", false, "rewrite testdata/bad/*.want")

func noEnv(string) (string, bool) { return "", false }

func load(t *testing.T, path string) (Config, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(path, data, noEnv)
}

func TestEveryKindOfMistakeHasItsMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			_, err := load(t, path)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("no problem found: %v", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.File == "" {
					t.Errorf("no place: %+v", p)
				}
				if strings.Contains(p.Message, "hunter2") || strings.Contains(p.Message, "short-secret") || strings.Contains(p.Message, "aGVsbG8") {
					t.Errorf("a secret stands in %q", p.Message)
				}
			}
			want := strings.TrimSuffix(path, ".yaml") + ".want"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(data) {
				t.Errorf("got\n%swant\n%s", got, data)
			}
		})
	}
}

// The file that a new user copies is right, with the key beside it that the README has them make.
func TestTheExampleOfTheReadmeIsRight(t *testing.T) {
	data, err := os.ReadFile("../../../../deploy/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"evenkeel.yaml": string(data), "director.key": remediations.GenerateSecret()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "evenkeel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Policies) == 0 || slices.ContainsFunc(c.Policies, func(p Policy) bool { return core.Mode(p.Mode) != core.ModeObserve }) {
		t.Errorf("a first configuration acts: %+v", c.Policies)
	}
}

// Replicas with the same rules have the same number, whatever their machines differ in.
func TestWhatIsOfOneMachineIsNotNumbered(t *testing.T) {
	f := func(same bool, change func(c *Config)) {
		t.Helper()
		shape := func(change func(c *Config)) string {
			c, err := load(t, "testdata/good.yaml")
			if err != nil {
				t.Fatal(err)
			}
			change(&c)
			out, err := c.Shared().Render()
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		if got := shape(change) == shape(func(*Config) {}); got != same {
			t.Errorf("the same: %t", got)
		}
	}
	f(true, func(c *Config) { c.Ledger.TLS.Key = "/etc/r2.key" })
	f(true, func(c *Config) { c.Replicas[1].Listen = "10.0.0.1:8452" })
	f(true, func(c *Config) { c.Storage.URL = "http://127.0.0.1:8428" })
	f(false, func(c *Config) { c.Policies[0].Hold++ })
	f(false, func(c *Config) { c.Replicas[1].Peer = "https://10.9.0.4:8452" })
}

func TestGoodFileIsReadWhole(t *testing.T) {
	c, err := load(t, "testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	topology := c.Topology(7)
	if topology.Revision != 7 || len(topology.Sites) != 3 || len(topology.Services) != 2 || topology.Lab {
		t.Errorf("topology %+v", topology)
	}
	drain, _ := topology.Plan("drain")
	if drain.Kind != core.PlanDrain || len(drain.Steps) != 2 || drain.Steps[0].Verify.ShareBelow != 0 || drain.Steps[1].Verify.ShareBelow != 0.01 {
		t.Errorf("drain %+v", drain)
	}
	restore, _ := topology.Plan("restore")
	if restore.Kind != core.PlanRestore || len(restore.Steps) != 4 {
		t.Errorf("restore %+v", restore)
	}
	if got := c.Targets[0].Secret.Reveal(); !strings.HasPrefix(got, "whsec_") || strings.HasSuffix(got, "\n") {
		t.Errorf("the secret was not read from its file")
	}
}

// One value is an address alone; a mapping says what is expected there. Further probes are spread out by site.
func TestProbesAreRead(t *testing.T) {
	c, err := load(t, "testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	topology := c.Topology(1)
	checkout, _ := topology.Service("checkout")
	want := core.Expect{
		Status: []string{"200", "3xx", "401-403"}, Body: "pass", BodyRegexp: `"version": [1-9]`, Redirects: "refuse", TLSName: "www.example.net",
	}
	if checkout.Entries["waw"] != "https://waw.example.net/healthz" || !reflect.DeepEqual(checkout.Expect, map[string]core.Expect{"waw": want}) {
		t.Errorf("entries %v, expected %+v", checkout.Entries, checkout.Expect)
	}
	var got []string
	for _, p := range topology.Probes {
		got = append(got, strings.Join([]string{p.Path, p.Service, p.Name, p.TargetSite, p.URL, strings.Join(p.From, "+")}, " "))
		if pem := p.Expect.CA != ""; pem != (p.TargetSite == "fra" && p.Name == "orders-db") {
			t.Errorf("certificates of %s: %t", p.Name, pem)
		}
	}
	if !slices.Equal(got, []string{
		"private all backbone waw tcp://10.3.0.1:179 fra+lon",
		"user checkout checkout-api ams grpc://10.2.0.8:9000 fra+ams+waw+lon",
		"user checkout checkout-api fra grpcs://api.fra.example.net:443/checkout.Api fra+ams+waw+lon",
		"private checkout orders-db ams tcp://10.2.0.5:5432 fra+lon",
		"private checkout orders-db fra tls://10.1.0.5:5433 ams+lon",
		"private checkout names fra dns://10.1.0.53/www.example.net?type=AAAA ams+waw",
	}) {
		t.Errorf("probes\n%s", strings.Join(got, "\n"))
	}
	out, err := c.Render()
	if err != nil || !strings.Contains(string(out), "fra: https://fra.example.net/healthz") || !strings.Contains(string(out), "redirects: refuse") {
		t.Errorf("%v: not as it is read:\n%s", err, out)
	}
	if _, err := Parse("testdata/again.yaml", []byte(strings.ReplaceAll(string(out), "'[hidden]'", "")), noEnv); err != nil && strings.Contains(err.Error(), "entries") {
		t.Errorf("what is shown cannot be read: %v", err)
	}
}

// Certificates that end soon are a cause by a watch of their own, where any is probed.
func TestCertificatesAreWatched(t *testing.T) {
	f := func(want float64, text string) {
		t.Helper()
		c, err := Parse("evenkeel.yaml", []byte(text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		got := 0.0
		for _, w := range c.Watches {
			if w.Name == "tls-expiry" {
				got = *w.Threshold
				if w.Implied() != !strings.Contains(text, "watches:") {
					t.Errorf("implied: %t, by %s", w.Implied(), text)
				}
				if w.Class != "cause" || w.Direction != "below" {
					t.Errorf("a certificate accuses: %+v", w)
				}
			}
		}
		if got != want {
			t.Errorf("%s: watched below %g s, want %g", text, got, want)
		}
	}
	day := (24 * time.Hour).Seconds()
	plain := "sites: [{name: fra}]\nservices: [{name: a, entries: {fra: 'http://fra/'}"
	f(0, plain+"}]\n")
	f(14*day, plain+", probes: [{name: db, path: private, at: {fra: 'tls://fra:1'}}]}]\n")
	f(14*day, strings.Replace(plain, "http:", "https:", 1)+"}]\n")
	f(3*day, "probes: {tls_expiry: 3d}\n"+strings.Replace(plain, "http:", "https:", 1)+"}]\n")
	f(0, "probes: {tls_expiry: 0s}\n"+strings.Replace(plain, "http:", "https:", 1)+"}]\n")
	f(5, strings.Replace(plain, "http:", "https:", 1)+"}]\nwatches: [{name: tls-expiry, query: up, direction: below, model: threshold, threshold: 5}]\n")
}

func TestEmptyFileActsOnNothing(t *testing.T) {
	c, err := Parse("evenkeel.yaml", nil, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.Lab || len(c.Policies) != 0 || c.Guards.MinServing != 1 {
		t.Errorf("%+v", c)
	}
}

func TestModeIsObserveUntilPromoted(t *testing.T) {
	data, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("testdata/good.yaml", []byte(strings.ReplaceAll(string(data), ", mode: observe", "")), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if m := core.Mode(c.Policies[0].Mode); m != core.ModeObserve {
		t.Errorf("mode %s", m)
	}
}

func TestRenderHidesSecretsAndReadsBack(t *testing.T) {
	c, err := load(t, "testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Render()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "MfKQ9") || strings.Contains(string(out), "0123456789abcdef") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	if !strings.Contains(string(out), "cooldown: 30m0s") || !strings.Contains(string(out), "success: 99.9%") {
		t.Errorf("not as it is read:\n%s", out)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "testdata/good.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	s := compiled(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "${file:") {
			return // the disk is no part of this
		}
		c, err := Parse("fuzz.yaml", data, noEnv)
		var problems Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("an error without a place: %v", err)
		}
		if err == nil {
			c.Topology(1)
			if _, err := c.Render(); err != nil {
				t.Fatal(err)
			}
			if err := says(t, s, fromYAML(t, data)); err != nil {
				t.Errorf("the schema: %v", err)
			}
		}
	})
}
