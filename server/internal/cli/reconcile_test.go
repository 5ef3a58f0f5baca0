package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// glass leaves a record of break-glass in the data directory.
func (r *rig) glass(id string, at time.Time) core.BreakGlass {
	r.t.Helper()
	b := core.BreakGlass{
		ID: id, Subject: core.Subject{Site: "fra", Service: "checkout"}, Target: "director", State: core.RoutingDrained,
		ClusterID: "c_1", Epoch: 1, Seq: 8, Result: "done", By: "jo", Reason: "fra burns", At: at, Overrides: []string{"quorum"},
	}
	text, err := json.Marshal(b)
	if err != nil {
		r.t.Fatal(err)
	}
	r.leave(id+".json", string(text))
	return b
}

func (r *rig) leave(name, text string) {
	r.t.Helper()
	dir := filepath.Join(r.data, "break-glass")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) files() []string {
	r.t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.data, "break-glass"))
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestReconcile(t *testing.T) {
	r := start(t)
	if out := r.ok("reconcile"); !strings.HasPrefix(out, "nothing to reconcile") {
		t.Errorf("prints %q", out)
	}
	r.loop.reply = core.Reply{OK: true, Sentence: "on record"}
	first := r.glass("bg_z", since)
	second := r.glass("bg_a", since.Add(time.Hour))
	r.leave("bg_old.json.done", "{}")
	r.leave("notes.txt", "not mine")
	if out := r.ok("reconcile"); out != "bg_z.json: on record\nbg_a.json: on record\n" {
		t.Errorf("prints %q", out)
	}
	// A drain and what brought users back are told in the order in which they happened.
	if c := r.loop.commands; len(c) != 2 || c[0].BreakGlass.ID != first.ID || c[1].BreakGlass.ID != second.ID ||
		c[0].Kind != core.CommandReconcile || c[0].Reason != "fra burns" || c[0].By != "jo" {
		t.Errorf("commands are %+v", c)
	}
	if got := r.files(); !slices.Equal(got, []string{"bg_a.json.done", "bg_old.json.done", "bg_z.json.done", "notes.txt"}) {
		t.Errorf("files are %v", got)
	}
	if out := r.ok("reconcile"); !strings.HasPrefix(out, "nothing to reconcile") || len(r.loop.commands) != 2 {
		t.Errorf("the second time prints %q", out)
	}
}

func TestReconcileKeepsWhatIsNotOnRecord(t *testing.T) {
	r := start(t)
	r.loop.judge = func(c core.Command) (core.Reply, error) {
		switch c.BreakGlass.ID {
		case "bg_1":
			return core.Reply{Code: "conflict", Sentence: "another has that id"}, nil
		case "bg_3":
			return core.Reply{}, &core.Error{Code: core.CodeUnavailable, Message: "no quorum"}
		}
		return core.Reply{OK: true, Sentence: "on record"}, nil
	}
	r.glass("bg_1", since)
	r.glass("bg_2", since.Add(time.Second))
	r.glass("bg_5", time.Now().Add(time.Hour)) // the API refuses it
	r.leave("half.json", `{"id":"bg_9"`)
	r.leave("other.json", `{"id":"bg_9","what":1}`)
	r.leave("two.json", `{} {}`)
	r.leave("large.json", strings.Repeat(" ", 65<<10))
	out, err := r.run("reconcile")
	fails(t, err, 3, "not on record: 6")
	for _, want := range []string{"bg_1.json: another has that id\n", "bg_2.json: on record\n", "bg_5.json: break_glass: at is in the future", "half.json: this is no record"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	want := []string{"bg_1.json", "bg_2.json.done", "bg_5.json", "half.json", "large.json", "other.json", "two.json"}
	if got := r.files(); !slices.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
	// A server that cannot judge now is not asked on, and the rest waits.
	r.glass("bg_3", since.Add(2*time.Second))
	r.glass("bg_4", since.Add(3*time.Second))
	before := len(r.loop.commands)
	_, err = r.run("reconcile", "--output", "json")
	fails(t, err, 5, "no quorum")
	if got := r.files(); !slices.Contains(got, "bg_3.json") || !slices.Contains(got, "bg_4.json") || len(r.loop.commands) != before+2 {
		t.Errorf("files are %v after %d commands", got, len(r.loop.commands)-before)
	}
}

// Of two at the same time the second is told so, and gives the server nothing.
func TestReconcileIsAloneInItsDirectory(t *testing.T) {
	r := start(t)
	began, end := make(chan struct{}), make(chan struct{})
	r.loop.judge = func(core.Command) (core.Reply, error) {
		if len(r.loop.commands) == 1 {
			close(began)
			<-end
		}
		return core.Reply{OK: true, Sentence: "on record"}, nil
	}
	r.glass("bg_1", since)
	first := make(chan error)
	go func() {
		_, err := r.run("reconcile")
		first <- err
	}()
	<-began
	_, err := r.run("reconcile")
	fails(t, err, 3, "another reconcile is at work in "+filepath.Join(r.data, "break-glass"), "run this again")
	close(end)
	if err := <-first; err != nil || len(r.loop.commands) != 1 {
		t.Errorf("%v after %d commands", err, len(r.loop.commands))
	}
	if out := r.ok("reconcile"); !strings.HasPrefix(out, "nothing to reconcile") {
		t.Errorf("prints %q", out)
	}
}
