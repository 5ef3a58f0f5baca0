package health

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Constants of self-doubt.
const (
	// TiltFor is how long a tilt lasts after its last cause.
	TiltFor = 10 * time.Second
	// PauseLimit is the longest pause of our own process that is no reason to doubt.
	PauseLimit = 2 * time.Second
	// CanaryFor is how long the result of a canary counts.
	CanaryFor = 15 * time.Second

	// ClockLimit is how far our clock may be from those of most of the agents. Commands are good for two minutes, and executors
	// refuse what was signed five minutes off: what a replica sends whose clock is wrong arrives too late or from the future.
	ClockLimit = 30 * time.Second

	jumpLimit  = 2 * time.Second
	clocksNear = 10 * time.Second // of each other: they agree
)

// doubt is what a replica holds against itself.
type doubt struct {
	since, until int64
	reason       string
	canaryAt     int64
	canaryOK     bool
}

// doubt starts a tilt or makes a running one longer; the newest reason is the one shown.
func (t *Tracker) doubt(now int64, reason string) {
	d := &t.tilt
	if now > d.until || d.since == 0 {
		d.since = now
	}
	d.until, d.reason = now+int64(TiltFor), reason
}

// Paused tells that this process stood still for d and has just gone on.
func (t *Tracker) Paused(d time.Duration, at time.Time) {
	if now := t.tick(at); d > PauseLimit {
		t.doubt(now, "this process stood still for "+seconds(int64(d)))
	}
}

// ClockJumped tells that the wall clock of this machine moved by d against its monotonic one.
func (t *Tracker) ClockJumped(d time.Duration, at time.Time) {
	if now := t.tick(at); d.Abs() > jumpLimit {
		t.doubt(now, "the clock of this machine jumped by "+seconds(int64(d)))
	}
}

// Canary tells whether this replica could reach the world outside by its own probe.
func (t *Tracker) Canary(ok bool, at time.Time) {
	if now := t.tick(at); now >= t.tilt.canaryAt {
		t.tilt.canaryAt, t.tilt.canaryOK = now, ok
	}
}

// ownClock is how far our clock is from those of the agents, when those of more than half of the locations that are heard, and
// of two at least, agree on it; 0 when they do not. What we are apart from one agent is its trouble.
func (t *Tracker) ownClock(now int64) (off int64, agree int) {
	heard, offs := 0, t.scratch[:0]
	for i := range t.vantages {
		v := &t.vantages[i]
		if v.beatAt == 0 || now > v.beatAt+VoteIntervals*v.beatIvl {
			continue
		}
		heard++
		if v.clockKnown {
			offs = append(offs, -v.clockOff)
		}
	}
	t.scratch = offs
	slices.Sort(offs)
	for _, o := range offs {
		n := 0
		for _, other := range offs {
			if abs(other-o) <= int64(clocksNear) {
				n++
			}
		}
		if n > agree {
			off, agree = o, n
		}
	}
	if agree < 2 || 2*agree <= heard {
		return 0, 0
	}
	return off, agree
}

// selfDoubt renews the tilt while our clock is not that of the agents, and when agents of two or more sites fell silent together
// while our own canary fails: then it is we who are cut off. Loss of one site alone is evidence about the site.
func (t *Tracker) selfDoubt(now int64) core.Tilt {
	d := &t.tilt
	if off, agree := t.ownClock(now); abs(off) > int64(ClockLimit) {
		t.doubt(now, fmt.Sprintf("the clock of this machine is %s those of the agents at %d locations; set it", ahead(off), agree))
	}
	if d.canaryAt > 0 && !d.canaryOK && now-d.canaryAt <= int64(CanaryFor) {
		for i := range t.vantages {
			v, together := &t.vantages[i], 0
			if !v.site || !v.silent(now) {
				continue
			}
			for j := range t.vantages {
				w := &t.vantages[j]
				if w.site && w.silent(now) && abs(v.heardAt()-w.heardAt()) <= t.window {
					together++
				}
			}
			if together >= 2 {
				t.doubt(now, "the agents of two or more sites fell silent together and our own canary fails: we are cut off")
				break
			}
		}
	}
	if d.since == 0 || now > d.until || now < d.since {
		return core.Tilt{}
	}
	return core.Tilt{On: true, Reason: d.reason, Since: stamp(d.since), Until: stamp(d.until)}
}

func abs(n int64) int64 { return max(n, -n) }

func ahead(off int64) string {
	if off < 0 {
		return seconds(-off) + " behind"
	}
	return seconds(off) + " ahead of"
}
