package decide

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// The story tells of a declared change when it is declared and when it is over, once each, whoever leads meanwhile.
func TestChangesAreToldOfTwice(t *testing.T) {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams"}, []string{"lon"}))
	w.run(5*time.Second, time.Second)
	declare := func(changes ...core.DeclaredChange) {
		w.topo.Revision++
		w.topo.Changes = changes
		topo := w.topo
		w.step(Input{Topology: &topo})
	}
	lines := func(want ...string) {
		t.Helper()
		got := slices.DeleteFunc(slices.Clone(w.out), func(l string) bool { return !strings.Contains(l, "  change ") })
		for i := range got {
			got[i] = strings.Join(strings.Fields(got[i]), " ")
		}
		if !slices.Equal(got, want) {
			t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.out = nil
	}
	after := func(d time.Duration) time.Time { return w.at.Add(d) }
	deploy := core.DeclaredChange{
		ID: "1", Site: "fra", Service: "checkout", What: "checkout 2.4", By: "site fra", Start: w.at, End: after(time.Minute), DeclaredAt: w.at,
	}
	disks := core.DeclaredChange{
		ID: "1", Site: "ams", Service: core.AllServices, What: "swap the disks", By: "admin jo", Start: after(time.Hour), End: after(50 * time.Hour),
		DeclaredAt: w.at, Maintenance: true,
	}
	news := deploy
	news.ID, news.What, news.Start, news.End = "2", "short", after(-time.Minute), after(-50*time.Second)
	old := news
	old.ID, old.What, old.End = "3", "yesterday's", after(-2*time.Hour)
	old.Start = old.End.Add(-time.Minute)

	declare(deploy, disks, news, old)
	lines(
		"5.0s change change of checkout at fra declared by site fra until 10:01:05 UTC: checkout 2.4",
		"5.0s change maintenance of ams declared by admin jo from 11:00:05 UTC until 2026-09-03 12:00:05 UTC: swap the disks",
		"5.0s change change of checkout at fra declared by site fra from 09:59:05 UTC until 09:59:15 UTC: short",
		"5.0s change change of checkout at fra is over: short",
	)
	if w.wake.IsZero() || w.wake.After(deploy.End) {
		t.Errorf("wakes at %s, the change is over at %s", w.wake, deploy.End)
	}
	w.e = New(w.topo, w.snapshot()) // another leads
	w.run(30*time.Second, time.Second)
	lines()
	w.run(40*time.Second, time.Second)
	lines("65.0s change change of checkout at fra is over: checkout 2.4")
	w.e = New(w.topo, w.snapshot())
	disks.EndedAt, disks.EndedBy = w.at, "admin ann"
	declare(deploy, disks, news, old)
	lines("75.0s change maintenance of ams is over, ended by admin ann: swap the disks")
	w.run(time.Minute, time.Second)
	lines()
}

// A pipeline that runs wild does not make a step of more records than a transaction holds; each of its changes is told of all the same.
func TestManyChangesAreToldOfInTurn(t *testing.T) {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams"}, []string{"lon"}))
	w.run(time.Second, time.Second)
	const many = 3*changesATime + 1
	for i := range many {
		w.topo.Changes = append(w.topo.Changes, core.DeclaredChange{
			ID: strconv.Itoa(i), Site: "fra", Service: core.AllServices, What: strconv.Itoa(i), Start: w.at, End: w.at.Add(time.Hour),
		})
	}
	w.topo.Revision++
	topo := w.topo
	if out := w.step(Input{Topology: &topo}); len(out.Changes) != 2*changesATime {
		t.Errorf("%d records", len(out.Changes))
	}
	w.run(5*time.Second, time.Second)
	if n := len(slices.DeleteFunc(w.out, func(l string) bool { return !strings.Contains(l, "declared by") })); n != many {
		t.Errorf("told of %d of %d", n, many)
	}
}
