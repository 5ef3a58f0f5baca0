package api

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Whatever is taken as an order is complete: nothing of it falls back to a default but the hold.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"kind":"hold","episode_id":"e","hold_s":5,"reason":"r"}`))
	f.Add([]byte(`{"kind":"drain","subject":{"site":"fra","service":"all"},"reason":"r"}`))
	f.Add([]byte(`{"kind":"brake","on":true,"reason":"r"} {}`))
	f.Add([]byte(`[`))
	f.Add([]byte(reconcile(glass())))
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkBody(base+"/commands", body) != nil {
			return
		}
		var r CommandRequest
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatalf("%q passed the check: %v", body, err)
		}
		c, err := toCommand(r, "jo", when)
		if err != nil {
			if core.Code(err) != core.CodeInvalid {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		named := map[core.CommandKind]bool{
			core.CommandApprove: c.DecisionID != "", core.CommandVeto: c.DecisionID != "",
			core.CommandHold: c.EpisodeID != "" && c.Hold > 0, core.CommandDrain: c.Subject.Site != "",
			core.CommandRestore: c.Subject.Site != "", core.CommandBrake: r.On != nil,
			core.CommandReconcile: c.BreakGlass != nil && checkBreakGlass(*c.BreakGlass, when) == nil,
		}
		if !named[c.Kind] || c.Reason == "" || c.By != "jo" {
			t.Errorf("%q is taken as %+v", body, c)
		}
	})
}

// A name that a resolver could point elsewhere is never taken for this machine.
func FuzzLoopback(f *testing.F) {
	for _, s := range []string{"127.0.0.1:8450", "[::1]:1", "localhost", "127.0.0.1.evil.net", "::ffff:127.0.0.1", "[", "a]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !loopback(host) {
			return
		}
		name := hostOnly(host)
		if name == "localhost" || strings.HasSuffix(name, ".localhost") {
			return
		}
		if bare, _, ok := strings.Cut(name, "%"); ok {
			name = bare
		}
		if ip := net.ParseIP(name); ip == nil || !ip.IsLoopback() {
			t.Errorf("%q is taken for this machine", host)
		}
	})
}
