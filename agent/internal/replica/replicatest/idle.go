package replicatest

import (
	"testing"
	"time"
)

// rest is a time in which nothing was written, and one write that ended it.
type rest struct {
	began, wrote, ended time.Time
}

// part of a run.
type part uint8

const (
	busy      part = iota // the load writes, and the link fails by the script
	idle                  // nothing is written
	afterIdle             // the second after the write that ends it
)

// in names the part in which a figure is.
func (p part) in(name string) string {
	return name + [...]string{busy: "", idle: " idle", afterIdle: " after idle"}[p]
}

// part is that of a moment.
func (tr *Truth) part(at time.Time) part {
	for _, r := range tr.rests {
		switch {
		case at.Before(r.began) || !at.Before(r.ended):
		case at.Before(r.wrote):
			return idle
		default:
			return afterIdle
		}
	}
	return busy
}

// rest lets the load rest and ends that with one write. It looks once a second, as an agent does, and all the time from the write
// on; the exporters are asked all the time from a second before it.
func (tr *Truth) rest() {
	long := 3 * time.Second
	if tr.rounds > 0 {
		long = max(long, min(tr.rounds/10, time.Minute))
	}
	tr.turn.Lock()
	defer tr.turn.Unlock()
	r := rest{began: time.Now()}
	tr.watch(long-time.Second, time.Second)
	tr.alert.Store(true)
	defer tr.alert.Store(false)
	tr.watch(time.Second, 500*time.Millisecond)
	r.wrote = time.Now()
	failed := make(chan error, 1)
	go func() { failed <- tr.commit() }()
	tr.watch(time.Second, brief)
	if err := <-failed; err != nil {
		tr.t.Fatal(err)
	}
	r.ended = time.Now()
	tr.rests = append(tr.rests, r)
}

// calm fails when a write after a rest makes a subject say more than it said before, apart from the time that goes by: what was
// complete a moment ago lacks no more than a moment.
func (tr *Truth) calm(s *subject) {
	t := tr.t
	t.Helper()
	var most time.Duration
	before, after := 0, 0
	for _, rested := range tr.rests {
		var last report
		for _, r := range s.seen {
			switch {
			case !r.Upper.OK || tr.part(r.At) == busy || r.At.Before(rested.began) || !r.At.Before(rested.ended):
			case r.At.Before(rested.wrote):
				last = r
				before++
			default:
				after++
				most = max(most, r.Upper.V)
				took := r.At.Sub(r.began) // a slow look is as uncertain as it is long
				if all := last.Upper.V + r.At.Sub(last.At) + took + time.Millisecond; last.Upper.OK && r.Upper.V > all {
					t.Errorf("%s: %v %q within %s after a rest, with at most %s known to be missing", s.name, r.State, r.Detail, r.Upper.V, all)
				}
			}
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%s: no upper bound before (%d) or after (%d) the write that ends a rest", s.name, before, after)
	}
	figure(t, afterIdle.in(s.name), "upper_max", most.Seconds(), "s")
}

// parts are the lines of one who is compared.
type parts [afterIdle + 1]line

func (l *parts) print(t *testing.T, name string) {
	t.Helper()
	for p := range l {
		l[p].print(t, part(p).in(name), part(p) == busy)
	}
}
