package ledger

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// model is what a ledger must hold, in plain maps.
type model struct {
	episodes map[string]core.Episode
	actions  map[string]core.Action
	intents  map[string]core.Intent
	routing  map[string]core.Routing
	notices  map[string]core.Notice
	brake    *core.Brake
	lines    []core.Line
}

func newModel() *model {
	return &model{
		map[string]core.Episode{},
		map[string]core.Action{},
		map[string]core.Intent{},
		map[string]core.Routing{},
		map[string]core.Notice{},
		nil, nil,
	}
}

// draw makes a commit and applies it to the model; ok is false when the ledger must refuse it.
func (m *model) draw(t *rapid.T, rev int64) (changes []core.Change, ok bool) {
	text := rapid.StringOf(rapid.RuneFrom([]rune("abcß 世\"\\/"))).Draw(t, "text")
	when := time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "at")).UTC()
	id := fmt.Sprint("id", rapid.IntRange(0, 20).Draw(t, "id"))
	n := 0
	ok = true
	var apply []func()
	for range rapid.IntRange(1, 6).Draw(t, "changes") {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			e := core.Episode{ID: id, Sentence: text, Onset: when, Condition: core.Failing, LongestFailure: 1.5}
			changes = append(changes, core.Change{Episode: &e})
			apply = append(apply, func() { m.episodes[id] = e })
		case 1:
			a := core.Action{ID: id, Reason: text, CreatedAt: when, State: core.ActionRunning, Steps: []core.StepRun{{N: 1}}}
			changes = append(changes, core.Change{Action: &a})
			apply = append(apply, func() { m.actions[id] = a })
		case 2:
			i := core.Intent{ID: id, ActionID: id, Reason: text, NotAfter: when}
			for _, c := range changes {
				ok = ok && c.Intent == nil
			}
			_, there := m.intents[id]
			ok = ok && !there
			changes = append(changes, core.Change{Intent: &i})
			apply = append(apply, func() { i.Seq = rev; m.intents[id] = i })
		case 3:
			r := core.Routing{Subject: core.Subject{Site: id, Service: text}, Weight: 7, State: core.RoutingDraining}
			changes = append(changes, core.Change{Routing: &r})
			key := text
			if key == "" {
				key = core.AllServices
			}
			apply = append(apply, func() { m.routing[id+" "+key] = r })
		case 4:
			x := core.Notice{ID: id, EpisodeID: text, State: "pending", At: when}
			changes = append(changes, core.Change{Notice: &x})
			apply = append(apply, func() { m.notices[id] = x })
		case 5:
			b := core.Brake{On: true, Reason: text, At: when}
			changes = append(changes, core.Change{Brake: &b})
			apply = append(apply, func() { m.brake = &b })
		case 6:
			x := core.Line{At: when, Sentence: text}
			changes = append(changes, core.Change{Line: &x})
			x.Seq, x.N = rev, n
			n++
			apply = append(apply, func() { m.lines = append(m.lines, x) })
		}
	}
	if ok {
		for _, f := range apply {
			f()
		}
	}
	return changes, ok
}

func (m *model) check(t *rapid.T, l *Ledger) {
	s, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := newModel()
	for _, e := range s.Episodes {
		got.episodes[e.ID] = e
	}
	for _, a := range s.Actions {
		got.actions[a.ID] = a
	}
	for _, i := range s.Intents {
		got.intents[i.ID] = i
	}
	for _, r := range s.Routing {
		key := r.Subject.Service
		if key == "" {
			key = core.AllServices
		}
		got.routing[r.Subject.Site+" "+key] = r
	}
	for _, n := range s.Notices {
		got.notices[n.ID] = n
	}
	got.brake = s.Brake
	if got.lines, err = l.Lines(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	want := *m
	want.intents = map[string]core.Intent{} // a snapshot has the intents of the actions it has
	for id, i := range m.intents {
		if _, ok := m.actions[i.ActionID]; ok {
			want.intents[id] = i
		}
	}
	if diff := cmp.Diff(&want, got, cmp.AllowUnexported(model{}), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("loaded something else than was committed (-want +got):\n%s", diff)
	}
}

func TestWhatIsCommittedIsLoaded(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		if runs > 12 {
			return // each opens a real etcd twice
		}
		dir := filepath.Join(base, fmt.Sprint(runs))
		m := newModel()
		for range 2 { // again after a restart
			l, err := Open(t.Context(), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(1, 12).Draw(t, "commits") {
				changes, ok := m.draw(t, l.Revision()+1)
				_, err := l.Commit(t.Context(), changes)
				if ok != (err == nil) {
					t.Fatalf("commit of %d changes: %v, want success: %v", len(changes), err, ok)
				}
			}
			m.check(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
