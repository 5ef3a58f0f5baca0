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
		MsgSent: set(at), MsgReceived: set(at), LatestEnd: set(LSN(110)), LatestEndTime: set(at),
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
	nothing, new := func(*subscriptionRow) {}, subscriptionKept{}
	failing := subscriptionKept{id: 5, known: true, errors: 1, applied: 100}
	once := subscriptionKept{id: 5, known: true, errors: 2, applied: 100}
	noWorker := func(r *subscriptionRow) {
		r.PID, r.Received, r.LatestEnd = sql.Null[int64]{}, sql.Null[LSN]{}, sql.Null[LSN]{}
		r.MsgSent, r.MsgReceived, r.LatestEndTime = sql.Null[time.Time]{}, sql.Null[time.Time]{}, sql.Null[time.Time]{}
	}

	f("the newest message is a keepalive", nothing, new, replica.CaughtUp, "", sec(1))
	f("data after the keepalive", func(r *subscriptionRow) { r.MsgSent = set(noon) }, new, replica.CatchingUp, "", sec(1))
	f("no keepalive yet", func(r *subscriptionRow) { r.LatestEndTime = sql.Null[time.Time]{} }, new,
		replica.CatchingUp, replica.ReasonNotMeasured, none)
	f("no worker", noWorker, new, replica.LinkDown, "", none)
	f("no worker, and one error: the wire was cut", noWorker, once, replica.LinkDown, "", none)
	f("no worker, and errors", noWorker, failing, replica.ApplierStopped, replica.ReasonError, none)
	f("a worker that looks alive, and errors", nothing, failing, replica.ApplierStopped, replica.ReasonError, sec(1))
	f("errors, and progress", func(r *subscriptionRow) { r.Applied = set(LSN(101)) }, failing, replica.CaughtUp, "", sec(1))
	f("errors of another subscription", nothing, subscriptionKept{id: 4, known: true, applied: 100}, replica.CaughtUp, "", sec(1))
	f("disabled", func(r *subscriptionRow) { r.Enabled = false }, new, replica.ApplierStopped, replica.ReasonPaused, sec(1))
	f("disabled by an error", func(r *subscriptionRow) { r.Enabled = false }, once, replica.ApplierStopped, replica.ReasonError, sec(1))
	f("first copy", func(r *subscriptionRow) { r.Copying = 1 }, new, replica.Resyncing, "", sec(1))
	f("nothing heard", func(r *subscriptionRow) { r.MsgReceived = sql.Null[time.Time]{} }, new, replica.LinkDown, replica.ReasonStale, sec(1))
	f("silent", func(r *subscriptionRow) { r.MsgReceived = set(noon.Add(-61 * time.Second)) }, new, replica.LinkDown, replica.ReasonStale, sec(1))
	f("silence cannot be judged", func(r *subscriptionRow) { r.Silence = 0 }, new, replica.Unknown, replica.ReasonIncomplete, sec(1))
	f("statistics that cannot be read", func(r *subscriptionRow) { r.Stats = set("[") }, new, replica.Unknown, replica.ReasonIncomplete, none)
	f("another name", func(r *subscriptionRow) { r.Name = "x" }, new, replica.Unknown, replica.ReasonMisconfigured, none)
	f("an old server without statistics or rights", func(r *subscriptionRow) {
		r.Stats, r.Applied = sql.Null[string]{}, sql.Null[LSN]{}
	}, failing, replica.CaughtUp, "", sec(1))

	// Errors are forgotten when one worker is caught up at two looks.
	row := workerRow()
	_, kept := subscription(link, []subscriptionRow{row}, once, 0)
	_, kept = subscription(link, []subscriptionRow{row}, kept, 0)
	row.Stats = set(`{"apply_error_count": 4}`)
	if s, _ := subscription(link, []subscriptionRow{row}, kept, 0); s.State != replica.CaughtUp {
		t.Errorf("old errors count: %v(%s)", s.State, s.Reason)
	}
	s, _ := subscription(link, []subscriptionRow{workerRow()}, new, 0)
	for _, name := range []string{"subscription.errors", "subscription.conflicts"} {
		if _, ok := measure(s, name); !ok {
			t.Errorf("no measure %s", name)
		}
	}
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
