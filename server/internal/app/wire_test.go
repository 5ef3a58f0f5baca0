package app

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ingest"
)

func TestTheVantagesOfATargetAreSpread(t *testing.T) {
	got := map[string][]int64{}
	for _, site := range []string{"ams", "fra", "waw"} {
		state, err := stateOf(testTopology(), ingest.Revision{}, site)
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Probes) != 3 {
			t.Fatalf("%s probes %d targets", site, len(state.Probes))
		}
		for _, p := range state.Probes {
			got[p.TargetSite] = append(got[p.TargetSite], p.PhaseMS)
		}
	}
	for target, phases := range got {
		slices.Sort(phases)
		if !slices.Equal(phases, []int64{0, 250, 500}) {
			t.Errorf("%s is probed at %v", target, phases)
		}
	}
	if _, err := stateOf(testTopology(), ingest.Revision{}, "par"); err == nil {
		t.Error("a site nobody declared gets a state")
	}
}

var rewriteState = flag.Bool("rewrite-state", false, "rewrite testdata/agent-state.json")

// The state of an agent, as agents read it: their tests read the same file. Who knows less than this version must be able
// to tell: a plain entry looks as it always did, and what expects more is of a kind that older agents refuse.
func TestTheStateOfAnAgent(t *testing.T) {
	topo := testTopology()
	topo.Services[0].Expect = map[string]core.Expect{"ams": {Status: []string{"200", "3xx"}, Body: "pass", Redirects: "follow"}}
	add := func(name, path, url string, expect core.Expect, from ...string) {
		topo.Probes = append(topo.Probes, core.Probe{
			Name: name, TargetSite: "ams", Service: "checkout", Path: path, URL: url, Expect: expect, From: from,
		})
	}
	add("api", "user", "grpcs://ams:443/checkout.Api", core.Expect{TLSName: "api.example.net"}, topo.Vantages()...)
	add("orders-db", "private", "tls://ams:5433", core.Expect{ALPN: "postgresql"}, "fra")
	add("names", "private", "dns://ams/www.example.net?type=A", core.Expect{Rcode: "NOERROR", Answers: []string{"192.0.2.1"}}, "fra")
	add("ssh", "private", "tcp://ams:22", core.Expect{}, "waw")
	state, err := stateOf(topo, ingest.Revision{ClusterID: "c", Epoch: 1, Revision: 2}, "fra")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/agent-state.json"
	if *rewriteState {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+"\n" != string(want) {
		t.Errorf("got\n%s", got)
	}
	for _, p := range state.Probes {
		if known := p.Kind == "http" || p.Kind == "tcp"; known && p.Options != nil {
			t.Errorf("%s: an older agent would leave its options out", p.Name)
		}
	}
}
