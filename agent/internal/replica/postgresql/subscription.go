package postgresql

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// loops is how many errors without progress in between tell an apply worker that fails over and over from one that lost
// its connection, which counts as one error too.
const loops = 2

// subscriptionKept is what is remembered of a subscription between looks. The zero value remembers nothing.
type subscriptionKept struct {
	id      int64
	known   bool // errors is set
	errors  int64
	applied LSN
	pid     int64     // of the worker that was caught up at the look before; 0: it was not
	heard   time.Time // by the subscriber's clock

	// Keepalives, by the publisher's clock.
	worker   int64     // that was told
	told     time.Time // the newest one of it that was seen
	again    bool      // it was told more than once
	complete time.Time // all before it is applied
}

// subscription tells the target end of a logical link. It is a pure function.
//
// The worker applies what it receives before it reads on, and a publisher that has sent all it knew of says so with a
// keepalive. What it knew of is what was written when it sent the keepalive before: after one more it knows more. So all that
// was committed before the last but one keepalive that was seen is applied, and its age is Upper. The first of a connection
// says nothing: it tells where the publisher begins. A publisher also answers a subscriber that heard nothing for half of
// wal_receiver_timeout, even while it is decoding what it has not sent: only a heartbeat or the publisher's own end sees that.
func subscription(link LinkSpec, rows []subscriptionRow, kept subscriptionKept, silence time.Duration) (replica.Sighting, subscriptionKept) {
	s := link.sighting()
	i := slices.IndexFunc(rows, func(r subscriptionRow) bool { return r.Name == link.peer() })
	if i < 0 {
		return because(s, replica.Unknown, replica.ReasonMisconfigured,
			fmt.Sprintf("the database has no subscription %q", link.peer())), subscriptionKept{}
	}
	row := rows[i]
	if row.ID != kept.id {
		kept = subscriptionKept{id: row.ID}
	}
	stats, err := parseCounters(row.Stats.V)
	if row.Stats.Valid && err != nil {
		return because(s, replica.Unknown, replica.ReasonIncomplete, "the statistics of the subscription cannot be read"), kept
	}
	s.Extra = subscriptionMeasures(stats)
	grown := kept.failures(row, stats)
	heard := row.heard()
	switch {
	case heard:
		kept.heard = row.MsgReceived.V
	case row.Applied.Valid && kept.applied > 0 && row.Applied.V > kept.applied:
		kept.heard = row.Now // by a worker that is gone: after the look before, and nobody knows when
	}
	kept = kept.progress(row, stats)
	if row.Applied.Valid {
		s.Position = row.Applied.V.String()
	}
	kept = kept.keepalive(row)
	s.LinkAge = since(row.Now, kept.heard)
	if s.Upper = since(row.Now, kept.complete); s.Upper.OK {
		s.SourceClock, s.Resolution = true, time.Microsecond
	}
	if silence == 0 {
		silence = row.Silence
	}
	was := kept.pid
	kept.pid = 0
	switch {
	case !row.Enabled && grown > 0:
		return because(s, replica.ApplierStopped, replica.ReasonError, "the subscription is disabled after errors"), kept
	case !row.Enabled:
		return because(s, replica.ApplierStopped, replica.ReasonPaused, "the subscription is disabled"), kept
	case grown >= loops:
		return because(s, replica.ApplierStopped, replica.ReasonError,
			fmt.Sprintf("applying failed %d times since it last got on", grown)), kept
	case row.Copying > 0:
		return because(s, replica.Resyncing, "", fmt.Sprintf("the first copy of %d tables is not finished", row.Copying)), kept
	case !row.PID.Valid:
		return because(s, replica.LinkDown, "", "no apply worker is running: it cannot connect, or it waits after an error"), kept
	case !heard:
		return because(s, replica.LinkDown, replica.ReasonStale, "the apply worker has heard nothing yet"), kept
	case silence == 0:
		return because(s, replica.Unknown, replica.ReasonIncomplete,
			"wal_receiver_timeout is 0, so silence cannot be told from a dead link: set it, or declare how long silence may last"), kept
	case s.LinkAge.V > silence:
		return because(s, replica.LinkDown, replica.ReasonStale,
			fmt.Sprintf("nothing was heard for %s", s.LinkAge.V.Round(time.Millisecond))), kept
	}
	if row.Received.Valid {
		s.Written = row.Received.V.String()
	}
	switch {
	case !s.Upper.OK:
		return because(s, replica.CatchingUp, replica.ReasonNotMeasured, "the publisher has not said yet that it sent all"), kept
	case !kept.again || !row.MsgSent.V.Equal(row.LatestEndTime.V):
		s.State = replica.CatchingUp
		return s, kept
	}
	s.State = replica.CaughtUp
	if was == row.PID.V {
		// The same worker twice without a failure: older errors are over.
		kept.known, kept.errors = row.Stats.Valid, stats["apply_error_count"]
	}
	kept.pid = row.PID.V
	return s, kept
}

// keepalive remembers the newest keepalive.
func (k subscriptionKept) keepalive(row subscriptionRow) subscriptionKept {
	switch {
	case !row.heard() || !row.LatestEnd.Valid || !row.LatestEndTime.Valid:
		k.worker, k.again = 0, false
	case row.PID.V != k.worker:
		k.worker, k.told, k.again = row.PID.V, row.LatestEndTime.V, false
	case !row.LatestEndTime.V.Equal(k.told):
		k.complete, k.told, k.again = k.told, row.LatestEndTime.V, true
	}
	return k
}

// heard says whether the worker has had a message. A new worker sets all its times to its own start, before it connects.
func (r subscriptionRow) heard() bool {
	if !r.PID.Valid || !r.MsgSent.Valid || !r.MsgReceived.Valid {
		return false
	}
	return !r.MsgSent.V.Equal(r.MsgReceived.V) || !r.LatestEndTime.Valid || !r.MsgSent.V.Equal(r.LatestEndTime.V)
}

// failures is how many apply errors there were since the last progress.
func (k subscriptionKept) failures(row subscriptionRow, stats map[string]int64) int64 {
	if !k.known || !row.Stats.Valid || (row.Applied.Valid && row.Applied.V > k.applied) {
		return 0
	}
	return max(stats["apply_error_count"]-k.errors, 0)
}

// progress moves the count from which errors are counted, when something was applied or the counter was reset.
func (k subscriptionKept) progress(row subscriptionRow, stats map[string]int64) subscriptionKept {
	count := stats["apply_error_count"]
	if row.Stats.Valid && (!k.known || count < k.errors || (row.Applied.Valid && row.Applied.V > k.applied)) {
		k.known, k.errors = true, count
	}
	if row.Applied.Valid {
		k.applied = row.Applied.V
	}
	return k
}

// parseCounters reads a flat JSON object and keeps its whole numbers; the empty text is no counters.
func parseCounters(text string) (map[string]int64, error) {
	if text == "" {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	out := make(map[string]int64)
	for name, value := range raw {
		var n *int64
		if json.Unmarshal(value, &n) == nil && n != nil && *n >= 0 {
			out[name] = *n
		}
	}
	return out, nil
}

// subscriptionMeasures are the counters of a subscription.
func subscriptionMeasures(stats map[string]int64) []replica.Measure {
	var out []replica.Measure
	for _, name := range sortedKeys(stats) {
		switch kind, isError := strings.CutSuffix(name, "_error_count"); {
		case isError:
			out = append(out, counter("subscription.errors", "{error}", stats[name], "kind", kind))
		case strings.HasPrefix(name, "confl_"):
			out = append(out, counter("subscription.conflicts", "{conflict}", stats[name], "type", strings.TrimPrefix(name, "confl_")))
		}
	}
	return out
}
