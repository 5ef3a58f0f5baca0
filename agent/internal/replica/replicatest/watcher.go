package replicatest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Watcher looks at one end of one link and settles what it sees, as the agent does. At each look it checks what holds for every
// engine: no figure of what is unknown, a lower bound of a link that is down, no password in what people may see.
type Watcher struct {
	Name     string
	Interval time.Duration // at least, between looks
	ClockErr time.Duration
	Secrets  []string // that may not be seen

	Memory replica.Memory
	Seen   replica.Sighting
	Last   replica.Status
	Began  time.Time // of the latest look

	t    *testing.T
	look func(context.Context) Glance
}

// Glance is an engine's report of one link, and whether its bounds hold with the link down too.
type Glance struct {
	Began, Ended time.Time
	Sightings    []replica.Sighting
	Beat         bool
}

// NewWatcher makes one that looks ten times a second.
func NewWatcher(t *testing.T, name string, look func(context.Context) Glance, secrets ...string) *Watcher {
	return &Watcher{Name: name, Interval: 100 * time.Millisecond, Secrets: secrets, t: t, look: look}
}

// Look looks once.
func (w *Watcher) Look() replica.Status {
	w.t.Helper()
	g := w.look(w.t.Context())
	if len(g.Sightings) != 1 {
		w.t.Fatalf("%s: %d sightings of one link", w.Name, len(g.Sightings))
	}
	interval := w.Interval
	if !w.Began.IsZero() {
		interval = max(interval, g.Began.Sub(w.Began))
	}
	w.Seen, w.Began = g.Sightings[0], g.Began
	w.Last, w.Memory = replica.Settle(w.Seen, w.Memory, replica.Look{
		Began: g.Began, Ended: g.Ended, Interval: interval, ClockErr: w.ClockErr, ClockKnown: true, Heartbeat: g.Beat,
	})
	st := w.Last
	switch {
	case st.State == replica.Unknown && (st.Lower.OK || st.Upper.OK || st.Reason == ""):
		w.t.Errorf("unknown with a figure or without a reason: %s", w.Show())
	case st.State == replica.LinkDown && !g.Beat && (st.Lower.V <= 0 || st.Upper.OK):
		w.t.Errorf("link_down without heartbeats must have a lower bound above 0 and no upper one: %s", w.Show())
	}
	for _, secret := range w.Secrets {
		if strings.Contains(fmt.Sprintf("%+v %+v", w.Seen, st), secret) {
			w.t.Fatalf("%s: a password is shown: %+v", w.Name, w.Seen)
		}
	}
	return st
}

// At is Look, and when it began.
func (w *Watcher) At() (replica.Status, time.Time) {
	w.t.Helper()
	st := w.Look()
	return st, w.Began
}

// Show is the latest status for people.
func (w *Watcher) Show() string {
	bound := func(o replica.Opt[time.Duration]) string {
		if !o.OK {
			return "-"
		}
		return o.V.Round(time.Millisecond).String()
	}
	st := w.Last
	return fmt.Sprintf("%s: %v(%s) %q [%s, %s] age %s exposure %s, %d bytes, %d transactions, %d messages", w.Name, st.State, st.Reason, st.Detail,
		bound(st.Lower), bound(st.Upper), bound(st.LinkAge), bound(st.Exposure), st.Bytes.Or(-1), st.Transactions.Or(-1), st.Messages.Or(-1))
}

// Until looks until a condition holds.
func (w *Watcher) Until(what string, holds func(replica.Status) bool) replica.Status {
	w.t.Helper()
	for end := time.Now().Add(Patience); !holds(w.Look()); time.Sleep(w.Interval / 2) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %s: %s", what, Patience, w.Show())
		}
	}
	return w.Last
}

// Becomes looks until it sees a state with a reason.
func (w *Watcher) Becomes(state replica.State, reason replica.Reason) replica.Status {
	w.t.Helper()
	return w.Until(fmt.Sprintf("%v(%s)", state, reason), func(st replica.Status) bool { return st.State == state && st.Reason == reason })
}

// Complete looks until the copy has all.
func (w *Watcher) Complete() replica.Status {
	w.t.Helper()
	return w.Until("complete", func(st replica.Status) bool { return st.State == replica.CaughtUp || st.State == replica.IdleLinkOK })
}

// Grows looks until the lower bound of a link that is down has grown: it follows the clock.
func (w *Watcher) Grows(by time.Duration) {
	w.t.Helper()
	w.Until("down", func(st replica.Status) bool { return st.State == replica.LinkDown })
	from := w.Last.Lower.V
	w.Until("the lower bound grows", func(st replica.Status) bool {
		if st.State != replica.LinkDown {
			w.t.Fatalf("no longer down: %s", w.Show())
		}
		return st.Lower.V >= from+by
	})
}

// Stays looks for a while at a link that must be alive with an upper bound of no more than that.
func (w *Watcher) Stays(d, upper time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(w.Interval / 2) {
		st := w.Look()
		alive := st.State == replica.CaughtUp || st.State == replica.CatchingUp || st.State == replica.IdleLinkOK
		if !alive || !st.Upper.OK || st.Upper.V > upper {
			w.t.Errorf("want alive and within %s: %s", upper, w.Show())
		}
	}
}

// Measure is a further figure of the latest look.
func (w *Watcher) Measure(name string) (float64, bool) {
	for _, m := range w.Seen.Extra {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}
