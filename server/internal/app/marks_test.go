package app

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

// What is on record says which times are like no other, and what the others carried in them.
func TestMarksOfHistory(t *testing.T) {
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return day.Add(time.Duration(minute) * time.Minute) }
	ptr := func(minute int) *time.Time { x := at(minute); return &x }
	checkout := func(site string) core.Subject { return core.Subject{Site: site, Service: "checkout"} }
	topology := core.Topology{Services: []core.Service{
		{Name: "checkout", Entries: map[string]string{"fra": "", "ams": "", "dub": ""}},
		{Name: "search", Entries: map[string]string{"fra": "", "ams": ""}},
	}, Sites: []core.Site{{Name: "fra"}, {Name: "ams"}, {Name: "dub"}}}
	episode := func(worst core.Condition, closed *time.Time) core.Episode {
		return core.Episode{
			ID: "ep", Subject: checkout("fra"), Onset: at(0), ClosedAt: closed, Worst: worst,
			Demand: map[string]float64{"fra": 10, "ams": 15, "dub": 5},
		}
	}
	action := func(kind core.PlanKind, state core.ActionState, from int, ended *time.Time, weight int) core.Action {
		steps := []core.StepRun{{Weight: weight, IntendedAt: ptr(from)}}
		return core.Action{Subject: checkout("fra"), EpisodeID: "ep", Kind: kind, State: state, CreatedAt: at(from), EndedAt: ended, Steps: steps}
	}
	never := action(core.PlanDrain, core.ActionExpired, 1, ptr(9), 0)
	never.Steps[0].IntendedAt = nil
	drill := action(core.PlanDrain, core.ActionSucceeded, 1, ptr(3), 0)
	drill.By, drill.Reason = "operator jo", "drill of March"
	whole := core.Episode{
		ID: "ep", Subject: core.Subject{Site: "fra", Service: core.AllServices}, Onset: at(0), Worst: core.Suspect,
		Demand: map[string]float64{"fra/checkout": 10, "ams/checkout": 10, "dub/checkout": 10, "fra/search": 30, "ams/search": 10},
	}
	wholeDrain := action(core.PlanDrain, core.ActionRunning, 2, nil, 0)
	wholeDrain.Subject = whole.Subject
	unitDrain := action(core.PlanDrain, core.ActionRunning, 2, nil, 0)
	unitDrain.Subject.Unit = "eu-1"
	for name, c := range map[string]struct {
		h    history
		want []string
	}{
		"nothing":                          {history{}, nil},
		"trouble that only statistics saw": {history{episodes: []core.Episode{episode(core.Suspect, ptr(9))}}, nil},
		"trouble":                          {history{episodes: []core.Episode{episode(core.Degraded, ptr(9))}}, []string{"incident checkout at fra 0 9"}},
		"drained": {
			history{
				episodes: []core.Episode{episode(core.Failing, nil)},
				actions:  []core.Action{action(core.PlanDrain, core.ActionSucceeded, 1, ptr(3), 0)},
				routing:  []core.Routing{{Subject: checkout("fra"), State: core.RoutingDrained, ChangedAt: at(2)}},
			},
			[]string{"incident checkout at fra 0 -", "drained checkout at fra 1 -", "shifted checkout at ams 1 3", "shifted checkout at ams 3 - 1.5", "shifted checkout at dub 1 3", "shifted checkout at dub 3 - 1.5"},
		},
		"a drill, which is a drain that a person orders, while nobody knows how many users there are": {
			history{
				actions: []core.Action{drill, action(core.PlanRestore, core.ActionSucceeded, 20, ptr(30), 100)},
				routing: []core.Routing{{Subject: checkout("fra"), State: core.RoutingActive, Weight: 100, ChangedAt: at(29)}},
			},
			[]string{"drained checkout at fra 1 32 drill of March", "shifted checkout at ams 1 32", "shifted checkout at dub 1 32"},
		},
		"half of them came back": {
			history{
				episodes: []core.Episode{episode(core.Suspect, nil)},
				actions: []core.Action{
					action(core.PlanRestore, core.ActionRunning, 20, nil, 100), action(core.PlanDrain, core.ActionSucceeded, 1, ptr(3), 0),
				},
				routing: []core.Routing{{Subject: checkout("fra"), State: core.RoutingRestoring, Weight: 50, ChangedAt: at(21)}},
			},
			[]string{"drained checkout at fra 1 -", "shifted checkout at ams 1 3", "shifted checkout at ams 3 - 1.25", "shifted checkout at dub 1 3", "shifted checkout at dub 3 - 1.25"},
		},
		"restored, with an ineffective attempt before": {
			history{
				actions: []core.Action{
					action(core.PlanRestore, core.ActionSucceeded, 20, ptr(30), 100), action(core.PlanDrain, core.ActionSucceeded, 5, ptr(6), 0),
					action(core.PlanDrain, core.ActionIneffective, 1, ptr(3), 0), action(core.PlanRestore, core.ActionFailed, 10, ptr(11), 100),
				},
				routing: []core.Routing{{Subject: checkout("fra"), State: core.RoutingActive, Weight: 100, ChangedAt: at(29)}},
			},
			[]string{"drained checkout at fra 1 32", "shifted checkout at ams 1 32", "shifted checkout at dub 1 32"},
		},
		"restored, with the demand on record": {
			history{
				episodes: []core.Episode{episode(core.Suspect, ptr(40))},
				actions: []core.Action{
					action(core.PlanDrain, core.ActionSucceeded, 1, ptr(3), 0), action(core.PlanRestore, core.ActionSucceeded, 20, ptr(30), 100),
				},
				routing: []core.Routing{{Subject: checkout("fra"), State: core.RoutingActive, Weight: 100, ChangedAt: at(29)}},
			},
			[]string{
				"drained checkout at fra 1 32", "shifted checkout at ams 1 3", "shifted checkout at ams 3 30 1.5", "shifted checkout at ams 30 32",
				"shifted checkout at dub 1 3", "shifted checkout at dub 3 30 1.5", "shifted checkout at dub 30 32",
			},
		},
		"rolled back": {
			history{actions: []core.Action{action(core.PlanDrain, core.ActionRolledBack, 1, ptr(4), 0)}},
			[]string{"drained checkout at fra 1 6", "shifted checkout at ams 1 6", "shifted checkout at dub 1 6"},
		},
		"never sent, and never moved": {
			history{actions: []core.Action{never, action(core.PlanDrain, core.ActionFailed, 10, ptr(11), 0)}},
			[]string{"drained checkout at fra 10 13", "shifted checkout at ams 10 13", "shifted checkout at dub 10 13"},
		},
		"drained by an action that is forgotten": {
			history{routing: []core.Routing{{Subject: checkout("dub"), State: core.RoutingDrained, ChangedAt: at(2)}}},
			[]string{"drained checkout at dub 2 -", "shifted checkout at fra 2 -", "shifted checkout at ams 2 -"},
		},
		"a unit, which is not all that the series of its service are about": {
			history{
				actions: []core.Action{unitDrain},
				routing: []core.Routing{{Subject: unitDrain.Subject, State: core.RoutingDrained, ChangedAt: at(2)}},
			}, nil,
		},
		"a whole site": {
			history{episodes: []core.Episode{whole}, actions: []core.Action{wholeDrain}},
			[]string{
				"drained fra 2 -", "shifted checkout at ams 2 4", "shifted checkout at ams 4 - 1.5", "shifted checkout at dub 2 4",
				"shifted checkout at dub 4 - 1.5", "shifted search at ams 2 4", "shifted search at ams 4 - 4",
			},
		},
		"a change": {
			history{changes: []core.DeclaredChange{{Site: "fra", Service: "checkout", What: "2.4", Start: at(1), End: at(5)}}},
			[]string{"change checkout at fra 1 5 2.4"},
		},
		"an incident that people marked, and one that was taken back": {
			history{changes: []core.DeclaredChange{
				{Site: "fra", Service: core.AllServices, What: "the switch", Start: at(1), End: at(5), Incident: true},
				{Site: "ams", Service: core.AllServices, What: "not that one", Start: at(1), End: at(5), Incident: true, EndedAt: at(1)},
			}},
			[]string{"incident fra 1 5"},
		},
		"a maintenance that was ended early, and one that never began": {
			history{changes: []core.DeclaredChange{
				{Site: "fra", Service: core.AllServices, What: "disks", Start: at(1), End: at(9), Maintenance: true, EndedAt: at(5)},
				{Site: "ams", Service: core.AllServices, What: "disks", Start: at(10), End: at(19), Maintenance: true, EndedAt: at(5)},
			}},
			[]string{"maintenance fra 1 5", "change fra 1 5 disks"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.h.topology = topology
			var got []string
			for _, m := range c.h.marks() {
				got = append(got, markText(m, day))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
		})
	}
}

func markText(m detect.Mark, day time.Time) string {
	minute := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return num(t.Sub(day).Minutes())
	}
	kind := map[detect.MarkKind]string{
		detect.MarkIncident: "incident", detect.MarkDrained: "drained", detect.MarkShifted: "shifted", detect.MarkChange: "change",
		detect.MarkMaintenance: "maintenance",
	}[m.Kind]
	text := []string{kind, m.Subject.String(), minute(m.From), minute(m.Until)}
	if m.Load != 0 {
		text = append(text, num(m.Load))
	}
	if m.What != "" {
		text = append(text, m.What)
	}
	return strings.Join(text, " ")
}

func num(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// The detectors hear of what people mark after it was learned, of each once and when it is taken back; and nobody else does.
func TestMarkedIncidents(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	var told []detect.Mark
	s := &Server{ledger: l, inputs: make(chan input), eyes: newEyes("r1", core.Topology{}, time.Now), world: newWorld(core.Topology{})}
	s.marks.relearn = func(marks []detect.Mark) { told = append(told, marks...) }
	incident := func(id string) core.DeclaredChange {
		return core.DeclaredChange{ID: id, Site: "fra", Service: core.AllServices, What: id, Start: now.Add(-3 * time.Hour), End: now.Add(-2 * time.Hour), Incident: true}
	}
	f := func(want int) {
		t.Helper()
		if err := s.readMarks(t.Context()); err != nil || len(told) != want || len(s.world.current().Changes) > 0 {
			t.Errorf("%v; told %+v, and those who decide %+v", err, told, s.world.current().Changes)
		}
	}
	declare := func(id string) {
		t.Helper()
		if _, _, err := l.Declare(t.Context(), incident(id)); err != nil {
			t.Fatal(err)
		}
	}
	declare("old")
	f(0)
	declare("new")
	f(1)
	f(1)
	if _, err := l.EndChange(t.Context(), "fra", "new", "admin jo", now); err != nil {
		t.Fatal(err)
	}
	f(2)
	f(2)
	if m := told[1]; m.Kind != detect.MarkIncident || m.Subject.Site != "fra" || !m.From.Equal(now.Add(-3*time.Hour)) || !m.Until.Equal(now.Add(-2*time.Hour)) {
		t.Errorf("told %+v", m)
	}
}

// Detectors that began without what was marked, for the ledger did not answer, hear of all of it when it does.
func TestMarksThatTheDetectorsBeganWithout(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	incident := core.DeclaredChange{ID: "old", Site: "fra", Service: core.AllServices, What: "old", Start: now.Add(-3 * time.Hour), End: now.Add(-2 * time.Hour), Incident: true}
	if _, _, err := l.Declare(t.Context(), incident); err != nil {
		t.Fatal(err)
	}
	told := 0
	s := &Server{ledger: l, inputs: make(chan input), eyes: newEyes("r1", core.Topology{}, time.Now), world: newWorld(core.Topology{})}
	s.marks.relearn = func(marks []detect.Mark) { told += len(marks) }
	s.marks.missed = true
	for range 2 {
		if err := s.readMarks(t.Context()); err != nil || told != 1 {
			t.Errorf("%v; told of %d marks, want 1", err, told)
		}
	}
}

// What the ledger has is what the detectors hear; while it does not answer, what was heard last stands.
func TestMarksAreReadFromTheLedger(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	inputs := make(chan input, 1)
	s := &Server{ledger: l, inputs: inputs, eyes: newEyes("r1", core.Topology{}, time.Now), world: newWorld(core.Topology{
		Sites: []core.Site{{Name: "fra"}, {Name: "ams"}}, Services: []core.Service{{Name: "checkout", Entries: map[string]string{"fra": "", "ams": ""}}},
	})}
	fra := core.Subject{Site: "fra", Service: "checkout"}
	episode := core.Episode{
		ID: "ep_1", Subject: fra, Onset: now.Add(-time.Hour), OpenedAt: now.Add(-time.Hour), Worst: core.Failing, Condition: core.Failing,
		Demand: map[string]float64{"fra": 10, "ams": 10},
	}
	routing := core.Routing{Subject: fra, State: core.RoutingDrained, ChangedAt: now.Add(-time.Minute)}
	if _, err := l.Commit(t.Context(), []core.Change{{Episode: &episode}, {Routing: &routing}}); err != nil {
		t.Fatal(err)
	}
	change := core.DeclaredChange{ID: "chg_1", Site: "ams", Service: core.AllServices, What: "kernel", Start: now.Add(-3 * time.Hour), End: now.Add(-2 * time.Hour), DeclaredAt: now}
	if _, _, err := l.Declare(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if got := s.marks.between(now, now); got != nil {
		t.Fatalf("before anything is read: %v", got)
	}
	if err := s.readMarks(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Those who decide hear of the change, and not again while it is the same.
	if in := <-inputs; in.Topology == nil || len(in.Topology.Changes) != 1 || in.Topology.Changes[0].What != "kernel" {
		t.Errorf("the loop was told %+v", in)
	}
	if err := s.readMarks(t.Context()); err != nil || len(inputs) != 0 || len(s.world.current().Changes) != 1 {
		t.Errorf("%v, told %d times more, %v", err, len(inputs), s.world.current().Changes)
	}
	f := func(from, until time.Duration, want ...string) {
		t.Helper()
		var got []string
		for _, m := range s.marks.between(now.Add(from), now.Add(until)) {
			got = append(got, markText(m, now))
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %s until %s: %q, want %q", from, until, got, want)
		}
	}
	incident, drained, shifted, kernel := "incident checkout at fra -60 -", "drained checkout at fra -1 -", "shifted checkout at ams -1 -", "change ams -180 -120 kernel"
	all := func() {
		t.Helper()
		f(0, 0, incident, drained, shifted)
		f(-30*time.Minute, -20*time.Minute, incident)
		f(-170*time.Minute, -90*time.Minute, kernel)
		f(-24*time.Hour, 0, incident, drained, shifted, kernel)
		f(-24*time.Hour, -4*time.Hour)
	}
	all()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.readMarks(gone); err == nil {
		t.Error("a ledger that does not answer was read")
	}
	all()

	closed := now.Add(-30 * time.Second)
	episode.ClosedAt = &closed
	if _, err := l.Commit(t.Context(), []core.Change{{Episode: &episode}}); err != nil {
		t.Fatal(err)
	}
	if err := s.readMarks(t.Context()); err != nil {
		t.Fatal(err)
	}
	incident = "incident checkout at fra -60 -0.5"
	f(-time.Minute, 0, incident, drained, shifted)
	f(0, 0, drained, shifted)
}

// A server that starts knows where people work before it does anything.
func TestAServerStartsWithWhatIsDeclared(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	work := core.DeclaredChange{
		ID: "work-1", Site: "fra", Service: core.AllServices, What: "disks", Start: now, End: now.Add(time.Hour), DeclaredAt: now, Maintenance: true,
	}
	if _, _, err := l.Declare(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	s := &Server{ledger: l}
	if got, err := s.topology(t.Context(), config.Default()); err != nil || !slices.Equal(got.Changes, []core.DeclaredChange{work}) {
		t.Errorf("%+v, %v", got.Changes, err)
	}
}

// What is declared at this server is read at once.
func TestWhatIsDeclaredHereIsReadAtOnce(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	stale := make(chan struct{}, 1)
	c := changes{l, stale}
	work := core.DeclaredChange{ID: "work-1", Site: "fra", Service: core.AllServices, What: "disks", Start: now, End: now.Add(time.Hour), Maintenance: true}
	if _, _, err := c.Declare(t.Context(), work); err != nil || len(stale) != 1 {
		t.Errorf("declared: %d signs, %v", len(stale), err)
	}
	<-stale
	if _, err := c.EndChange(t.Context(), "fra", "work-1", "admin jo", now.Add(time.Minute)); err != nil || len(stale) != 1 {
		t.Errorf("ended: %d signs, %v", len(stale), err)
	}
}

// Of more changes than are looked at every maintenance that is not long over is known, and else the newest.
func TestAMaintenanceIsKnownAmongManyChanges(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var all []core.DeclaredChange // the newest start first
	for i := range marksKept + 10 {
		start := now.Add(-time.Duration(i) * time.Second)
		all = append(all, core.DeclaredChange{ID: strconv.Itoa(i), Start: start, End: now.Add(time.Hour)})
	}
	old := now.Add(-50 * time.Hour)
	all = append(all,
		core.DeclaredChange{ID: "on", Start: old, End: now.Add(time.Hour), Maintenance: true},
		core.DeclaredChange{ID: "ended", Start: old, End: now.Add(time.Hour), EndedAt: old.Add(time.Hour), Maintenance: true},
	)
	got := ofLate(all, now)
	if n := len(got); n != marksKept+1 || got[n-1].ID != "on" {
		t.Errorf("%d changes, the last of them %s", n, got[n-1].ID)
	}
	marks := history{changes: all}.marks()
	maintained := slices.DeleteFunc(slices.Clone(marks), func(m detect.Mark) bool { return m.Kind != detect.MarkMaintenance })
	if len(marks) != marksKept+4 || len(maintained) != 2 {
		t.Errorf("%d marks, %d of them maintenance; want those of %d changes and two maintenances", len(marks), len(maintained), marksKept)
	}
}
