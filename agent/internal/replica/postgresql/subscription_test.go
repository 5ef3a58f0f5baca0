package postgresql

import (
	"database/sql"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func workerRow() subscriptionRow {
	at := noon.Add(-time.Second)
	return subscriptionRow{
		Now: noon, ID: 5, Name: "copy", Enabled: true, Silence: time.Minute, Applied: set(LSN(100)), PID: set[int64](7), Received: set(LSN(110)),
		MsgSent: set(at), MsgReceived: set(at.Add(time.Millisecond)), LatestEnd: set(LSN(110)), LatestEndTime: set(at),
		Stats: set(`{"apply_error_count": 3, "sync_error_count": 0, "confl_insert_exists": 2, "stats_reset": null}`),
	}
}

func TestSubscription(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", Channel: "copy", End: replica.Target}
	type bound = replica.Opt[time.Duration]
	f := func(name string, spoil func(*subscriptionRow), kept subscriptionKept, state replica.State, reason replica.Reason, upper bound) {
		t.Helper()
		row := workerRow()
		spoil(&row)
		s, _ := subscription(link, []subscriptionRow{{Name: "another"}, row}, kept, 0)
		if s.State != state || s.Reason != reason || s.Upper != upper {
			t.Errorf("%s: %v(%s) upper %v %q, want %v(%s) %v", name, s.State, s.Reason, s.Upper, s.Detail, state, reason, upper)
		}
	}
	none, sec := bound{}, func(n int) bound { return replica.Some(time.Duration(n) * time.Second) }
	// The worker was told four and three seconds ago; workerRow is told one second ago.
	told := subscriptionKept{id: 5, worker: 7, told: noon.Add(-3 * time.Second), complete: noon.Add(-4 * time.Second), again: true}
	with := func(change func(*subscriptionKept)) subscriptionKept {
		k := told
		change(&k)
		return k
	}
	nothing := func(*subscriptionRow) {}
	failing := with(func(k *subscriptionKept) { k.known, k.errors, k.applied = true, 1, 100 })
	once := with(func(k *subscriptionKept) { k.known, k.errors, k.applied = true, 2, 100 })
	noWorker := func(r *subscriptionRow) {
		r.PID, r.Received, r.LatestEnd = sql.Null[int64]{}, sql.Null[LSN]{}, sql.Null[LSN]{}
		r.MsgSent, r.MsgReceived, r.LatestEndTime = sql.Null[time.Time]{}, sql.Null[time.Time]{}, sql.Null[time.Time]{}
	}

	f("the newest message is a keepalive", nothing, told, replica.CaughtUp, "", sec(3))
	f("data after the keepalive", func(r *subscriptionRow) { r.MsgSent = set(noon) }, told, replica.CatchingUp, "", sec(3))
	f("no keepalive yet", func(r *subscriptionRow) { r.LatestEndTime = sql.Null[time.Time]{} }, told,
		replica.CatchingUp, "", sec(4))
	f("no worker", noWorker, told, replica.LinkDown, "", sec(4))
	f("no worker, and one error: the wire was cut", noWorker, once, replica.LinkDown, "", sec(4))
	f("no worker, and errors", noWorker, failing, replica.ApplierStopped, replica.ReasonError, sec(4))
	f("a worker that looks alive, and errors", nothing, failing, replica.ApplierStopped, replica.ReasonError, sec(3))
	f("errors, and progress", func(r *subscriptionRow) { r.Applied = set(LSN(101)) }, failing, replica.CaughtUp, "", sec(3))
	f("the memory of another subscription", nothing, subscriptionKept{id: 4, known: true, applied: 100, worker: 7, told: noon, complete: noon},
		replica.CatchingUp, replica.ReasonNotMeasured, none)
	f("the first keepalive of a connection tells where it begins", nothing, with(func(k *subscriptionKept) { k.worker = 6 }),
		replica.CatchingUp, "", sec(4))
	f("the same keepalive as before", func(r *subscriptionRow) { r.MsgSent, r.LatestEndTime = set(told.told), set(told.told) }, told,
		replica.CaughtUp, "", sec(4))
	f("disabled", func(r *subscriptionRow) { r.Enabled = false }, told, replica.ApplierStopped, replica.ReasonPaused, sec(3))
	f("disabled by an error", func(r *subscriptionRow) { r.Enabled = false }, once, replica.ApplierStopped, replica.ReasonError, sec(3))
	f("first copy", func(r *subscriptionRow) { r.Copying = 1 }, told, replica.Resyncing, "", sec(3))
	f("nothing heard", func(r *subscriptionRow) { r.MsgReceived = sql.Null[time.Time]{} }, told, replica.LinkDown, replica.ReasonStale, sec(4))
	f("a new worker that heard nothing", func(r *subscriptionRow) { r.MsgReceived, r.LatestEnd = r.MsgSent, sql.Null[LSN]{} },
		told, replica.LinkDown, replica.ReasonStale, sec(4))
	f("a new worker with data and no keepalive", func(r *subscriptionRow) { r.MsgSent, r.LatestEnd = set(noon), sql.Null[LSN]{} },
		told, replica.CatchingUp, "", sec(4))
	f("silent", func(r *subscriptionRow) { r.MsgReceived = set(noon.Add(-61 * time.Second)) }, told, replica.LinkDown, replica.ReasonStale, sec(3))
	f("silence cannot be judged", func(r *subscriptionRow) { r.Silence = 0 }, told, replica.Unknown, replica.ReasonIncomplete, sec(3))
	f("statistics that cannot be read", func(r *subscriptionRow) { r.Stats = set("[") }, told, replica.Unknown, replica.ReasonIncomplete, none)
	f("another name", func(r *subscriptionRow) { r.Name = "x" }, told, replica.Unknown, replica.ReasonMisconfigured, none)
	f("an old server without statistics or rights", func(r *subscriptionRow) {
		r.Stats, r.Applied = sql.Null[string]{}, sql.Null[LSN]{}
	}, failing, replica.CaughtUp, "", sec(3))

	// Errors are forgotten when one worker is caught up at two looks.
	row := workerRow()
	_, kept := subscription(link, []subscriptionRow{row}, once, 0)
	_, kept = subscription(link, []subscriptionRow{row}, kept, 0)
	row.Stats = set(`{"apply_error_count": 4}`)
	if s, _ := subscription(link, []subscriptionRow{row}, kept, 0); s.State != replica.CaughtUp {
		t.Errorf("old errors count: %v(%s)", s.State, s.Reason)
	}
	s, _ := subscription(link, []subscriptionRow{workerRow()}, told, 0)
	for _, name := range []string{"subscription.errors", "subscription.conflicts"} {
		if _, ok := measure(s, name); !ok {
			t.Errorf("no measure %s", name)
		}
	}
}

// A worker that is gone does not tell what it heard after it was seen last. A look that comes late does not count the time until
// then as silence.
func TestSubscriptionIsNotSilentForLongerThanItWas(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", Channel: "copy", End: replica.Target}
	var kept subscriptionKept
	var m replica.Memory
	look := func(at time.Duration, change func(*subscriptionRow)) replica.Status {
		row := workerRow()
		row.Now = noon.Add(at)
		change(&row)
		s, k := subscription(link, []subscriptionRow{row}, kept, 0)
		kept = k
		began := row.Now.Add(-time.Millisecond)
		var st replica.Status
		st, m = replica.Settle(s, m, replica.Look{Began: began, Ended: row.Now, Interval: 100 * time.Millisecond, ClockKnown: true})
		return st
	}
	silent := func(at, most time.Duration, change func(*subscriptionRow)) {
		t.Helper()
		st := look(at, change)
		if st.State != replica.LinkDown || st.Lower.V > most || st.Lower.V < most/2 {
			t.Errorf("after %s: %v(%s) %q, silent for %s, want at most %s", at, st.State, st.Reason, st.Detail, st.Lower.V, most)
		}
	}
	fresh := func(r *subscriptionRow) { r.MsgReceived, r.LatestEnd = r.MsgSent, sql.Null[LSN]{} }
	if st := look(0, func(*subscriptionRow) {}); st.State == replica.LinkDown {
		t.Fatalf("%v(%s) %q", st.State, st.Reason, st.Detail)
	}
	// The worker went on for 600 ms, which were not looked at, and another one follows it.
	look(700*time.Millisecond, fresh)
	silent(4200*time.Millisecond, 3600*time.Millisecond, fresh)
	// Another one came and went; it applied something at 8 s.
	further := func(r *subscriptionRow) { fresh(r); r.Applied = set(LSN(120)) }
	look(8100*time.Millisecond, further)
	silent(10*time.Second, 2*time.Second, further)
}

func FuzzCounters(f *testing.F) {
	f.Add(`{"a": 1, "b": null, "c": 1.5, "d": -1, "e": "x"}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseCounters(text)
		if err != nil && got != nil {
			t.Error("counters with an error")
		}
		for name, n := range got {
			if n < 0 {
				t.Errorf("%q is negative", name)
			}
		}
	})
}
