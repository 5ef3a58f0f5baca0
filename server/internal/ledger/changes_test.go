package ledger

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func declared(site, id string, start time.Time) core.DeclaredChange {
	return core.DeclaredChange{
		ID: id, Site: site, Service: "all", What: "deploy " + id, Start: start, End: start.Add(time.Hour), By: "site " + site,
		DeclaredAt: start.Add(time.Minute),
	}
}

func TestDeclaredChangesAreKeptOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	a, b := declared("fra", "1", at(0)), declared("ams", "1", at(10))
	f := func(c core.DeclaredChange, fresh bool) {
		t.Helper()
		_, got, err := l.Declare(t.Context(), c)
		if err != nil || got != fresh {
			t.Errorf("%s of %s: fresh %v, %v", c.ID, c.Site, got, err)
		}
	}
	f(a, true)
	f(b, true) // ids are of their sites
	again := a
	again.By, again.DeclaredAt = "admin jo", at(30)
	f(again, false)
	later := a // said without a start, so it is that of its declaration
	later.Start, later.DeclaredAt = at(40), at(40)
	later.End = later.Start.Add(time.Hour)
	f(later, false)
	other := a
	other.What = "something else"
	_, _, err := l.Declare(t.Context(), other)
	wantCode(t, err, core.CodeConflict)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	got, err := l.Changes(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.DeclaredChange{b, a}, got); diff != "" {
		t.Error(diff)
	}
	if got, _ := l.Changes(t.Context(), 1); len(got) != 1 {
		t.Errorf("%d changes, asked for one", len(got))
	}
	// That the story has told of it is kept with it, and goes with it.
	told := []core.ToldChange{{Site: "ams", ID: "1"}, {Site: "fra", ID: "1", Over: true}}
	if _, err := l.Commit(t.Context(), []core.Change{{Told: &told[1]}, {Told: &told[0]}}); err != nil {
		t.Fatal(err)
	}
	if snap, err := l.Load(t.Context()); err != nil || !cmp.Equal(told, snap.Told) {
		t.Errorf("told of %+v, %v", snap.Told, err)
	}
	if n, err := l.Trim(t.Context(), at(3605), nil); err != nil || n != 2 {
		t.Errorf("%d records trimmed, %v; one change has ended before", n, err)
	}
	if snap, err := l.Load(t.Context()); err != nil || !cmp.Equal(told[:1], snap.Told) {
		t.Errorf("told of %+v, %v", snap.Told, err)
	}
}

func TestAChangeIsEndedOnce(t *testing.T) {
	l := fresh(t)
	work := declared("fra", "1", at(0))
	work.Maintenance = true
	if _, _, err := l.Declare(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	ended := work
	ended.EndedAt, ended.EndedBy = at(60), "admin jo"
	f := func(by string, when time.Time, want core.DeclaredChange) {
		t.Helper()
		got, err := l.EndChange(t.Context(), "fra", "1", by, when)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		if all, err := l.Changes(t.Context(), 0); err != nil || len(all) != 1 || all[0] != want {
			t.Errorf("kept are %+v, %v", all, err)
		}
	}
	f("admin jo", at(60), ended)
	f("admin ann", at(90), ended) // it is over
	// Its declaration is said again by somebody who has not heard of the end.
	if kept, isNew, err := l.Declare(t.Context(), work); err != nil || isNew || kept != ended {
		t.Errorf("%+v, new %v, %v", kept, isNew, err)
	}
	deploy := work
	deploy.Maintenance = false
	_, _, err := l.Declare(t.Context(), deploy)
	wantCode(t, err, core.CodeConflict)
	_, err = l.EndChange(t.Context(), "ams", "1", "admin jo", at(60))
	wantCode(t, err, core.CodeNotFound)
	if n, err := l.Trim(t.Context(), at(61), nil); err != nil || n != 1 {
		t.Errorf("%d records trimmed, %v; it was over a second before", n, err)
	}
}

// An incident is over when it is marked; to end it is to take it back.
func TestAnIncidentIsTakenBack(t *testing.T) {
	l := fresh(t)
	inc := declared("fra", "1", at(0))
	inc.Incident = true
	if _, _, err := l.Declare(t.Context(), inc); err != nil {
		t.Fatal(err)
	}
	other := inc
	other.Incident = false
	_, _, err := l.Declare(t.Context(), other)
	wantCode(t, err, core.CodeConflict)
	want := inc
	want.EndedAt, want.EndedBy = inc.Start, "admin jo"
	for _, by := range []string{"admin jo", "admin ann"} {
		if got, err := l.EndChange(t.Context(), "fra", "1", by, inc.End.Add(time.Hour)); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// A record from before there was maintenance is a change.
func TestAnOlderRecordOfAChange(t *testing.T) {
	l := fresh(t)
	const old = `{"id":"1","site":"fra","service":"all","what":"deploy 1","source":"ci","start":"2026-11-01T12:00:00Z","end":"2026-11-01T13:00:00Z",` +
		`"by":"site fra","declared_at":"2026-11-01T12:00:00Z"}`
	if _, err := l.client.Put(t.Context(), changeKey("fra", "1"), old); err != nil {
		t.Fatal(err)
	}
	got, err := l.Changes(t.Context(), 0)
	if err != nil || len(got) != 1 || got[0].Maintenance || !got[0].Until().Equal(got[0].End) {
		t.Errorf("%+v, %v", got, err)
	}
	// Nor does a change say to an older version what that does not know.
	if text, err := json.Marshal(got[0]); err != nil || string(text) != old {
		t.Errorf("written again it is %s, %v", text, err)
	}
}

func TestASiteHasRoomForSoManyChanges(t *testing.T) {
	l := fresh(t)
	now := time.Now().UTC().Truncate(time.Second)
	fill := func(from, to int, start time.Time) { // at once: one by one takes long
		t.Helper()
		var ops []clientv3.Op
		for i := from; i < to; i++ {
			value, err := json.Marshal(declared("fra", fmt.Sprint(i), start))
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, clientv3.OpPut(changeKey("fra", fmt.Sprint(i)), string(value)))
		}
		if _, err := l.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	fill(0, maxChanges, now)
	_, _, err := l.Declare(t.Context(), declared("fra", "more", now))
	wantCode(t, err, core.CodeTooLarge)
	if _, _, err := l.Declare(t.Context(), declared("ams", "more", now)); err != nil {
		t.Errorf("another site has no room: %v", err)
	}
	l = fresh(t)
	fill(0, 10, now.Add(-30*time.Hour))
	fill(10, maxChanges, now)
	if _, _, err := l.Declare(t.Context(), declared("fra", "more", now)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Changes(t.Context(), 0); err != nil || len(got) != maxChanges-9 {
		t.Errorf("%d changes, %v; the ten old ones should have gone", len(got), err)
	}
}
