package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestChangeCommands(t *testing.T) {
	r := start(t)
	r.loop.topology = core.Topology{Sites: []core.Site{{Name: "fra"}}, Services: []core.Service{{Name: "checkout"}}}
	args := []string{"change", "declare", "--site", "fra", "--service", "checkout", "--what", "deploy checkout 1.4", "--id", "run-7", "--server", r.url, "--data", r.data}
	for range 2 {
		out, _, err := run(t, args...)
		if err != nil || !strings.HasPrefix(out, "change run-7 of checkout at fra until ") {
			t.Fatalf("%q, %v", out, err)
		}
	}
	out, _, err := run(t, "change", "list", "--active", "--server", r.url)
	if err != nil || strings.Count(out, "deploy checkout 1.4") != 1 || !strings.Contains(out, "admin jo") {
		t.Errorf("%q, %v", out, err)
	}
	f := func(exit int, want string, more ...string) {
		t.Helper()
		_, _, err := run(t, append(append([]string{}, args...), more...)...)
		fails(t, err, exit, want)
	}
	f(3, "another change has the id run-7 (give", "--what", "another")
	f(2, `there is no site "muc" (name one of: fra;`, "--site", "muc")
	f(2, `there is no service "chekout" (name one of: checkout, all)`, "--service", "chekout")
	f(2, "--for is out of range", "--for", "48h")
	f(2, "--start", "--start", "soon")
	f(2, "a change needs a site and a text", "--what", "")
}

func TestMaintenanceCommands(t *testing.T) {
	r := start(t)
	r.loop.topology = core.Topology{Sites: []core.Site{{Name: "fra"}}, Services: []core.Service{{Name: "checkout"}}}
	f := func(want string, args ...string) {
		t.Helper()
		out, _, err := run(t, append(append([]string{"change"}, args...), "--server", r.url, "--data", r.data)...)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v: %s, want %q", args, out, want)
		}
	}
	work := []string{"declare", "--site", "fra", "--what", "swap the disks", "--id", "work-1", "--maintenance", "--for", "72h"}
	f("maintenance work-1 of fra until ", work...)
	f("maintenance work-1 of fra until ", work...)
	f("maintenance  fra", "list", "--active")
	f(", ended by admin jo: swap the disks", "end", "fra", "work-1")
	f(", ended by admin jo: swap the disks", work...)
	f("admin jo  admin jo  work-1", "list")
	f("no declared change of that id", "end", "fra", "work-2")
	f("give 1s to 72h", append(work, "--for", "73h")...)
	f("accepts 2 arg(s)", "end", "fra")
}

func TestIncidentCommands(t *testing.T) {
	r := start(t)
	r.loop.topology = core.Topology{Sites: []core.Site{{Name: "fra"}}, Services: []core.Service{{Name: "checkout"}}}
	f := func(want string, args ...string) {
		t.Helper()
		out, _, err := run(t, append(append([]string{"change"}, args...), "--server", r.url, "--data", r.data)...)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v: %s, want %q", args, out, want)
		}
	}
	begun := time.Now().Add(-50 * time.Hour).UTC().Format(time.RFC3339)
	mark := []string{"declare", "--incident", "--site", "fra", "--what", "the switch", "--id", "inc-1", "--start", begun, "--for", "3h"}
	f("incident inc-1 of fra until ", mark...)
	f("incident inc-1 of fra until ", mark...)
	f("the incident is not over", "declare", "--incident", "--site", "fra", "--what", "x")
	f("an incident is no maintenance", append(mark, "--maintenance", "--id", "inc-2")...)
	f(", ended by admin jo: the switch", "end", "fra", "inc-1")
}
