package redis

import (
	"slices"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

const (
	// pingBytes is the length of a PING in the replication stream: *1\r\n$4\r\nPING\r\n. No write is as short.
	pingBytes = 14
	// maxPoints bounds what is remembered; beyond it every second point goes, which only widens the bounds.
	maxPoints = 1024
)

// timeline remembers when a source was seen at which offset, and so dates each byte of its stream by the agent's clock.
type timeline struct {
	replID, runID string
	points        []point // by offset, and by time
}

// point is an offset of the source. All bytes up to it were written before first (the end of the first look that saw it),
// all bytes after it after last (the begin of the last look that saw it).
type point struct {
	offset      int64
	first, last time.Time
	noise       bool // nothing but PINGs since the point before
}

// note adds a look at the source. A source with another history starts a new timeline.
func (t *timeline) note(source Row) {
	if !source.Offset.OK || source.ReplID == "" {
		return
	}
	if source.ReplID != t.replID || source.RunID != t.runID {
		*t = timeline{replID: source.ReplID, runID: source.RunID}
	}
	offset := source.Offset.V
	p := point{offset: offset, first: source.Ended, last: source.Began}
	if n := len(t.points); n > 0 {
		newest := &t.points[n-1]
		switch {
		case offset == newest.offset:
			newest.last = source.Began
			return
		case offset < newest.offset:
			t.points = nil
		default:
			p.noise = offset-newest.offset == pingBytes
		}
	}
	if len(t.points) == maxPoints {
		t.thin()
	}
	t.points = append(t.points, p)
}

// thin drops every second point.
func (t *timeline) thin() {
	kept := t.points[:0]
	for i := 1; i < len(t.points); i += 2 {
		p := t.points[i]
		p.noise = p.noise && t.points[i-1].noise
		kept = append(kept, p)
	}
	t.points = kept
}

// missing encloses the age of the oldest write that a target lacks which has applied so much; any is false when the
// source is not known to have written anything after that.
func (t *timeline) missing(applied int64, at time.Time) (lower, upper replica.Opt[time.Duration], any bool) {
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].offset > applied })
	if i < len(t.points) && t.points[i].offset-applied == pingBytes {
		i++
	}
	for i < len(t.points) && t.points[i].noise {
		i++
	}
	if i == len(t.points) {
		return lower, upper, false
	}
	lower = replica.Some(max(at.Sub(t.points[i].first), 0))
	if i > 0 {
		upper = replica.Some(max(at.Sub(t.points[i-1].last), 0))
	}
	return lower, upper, true
}

// written is the offset of the newest write, PINGs not counted.
func (t *timeline) written() replica.Opt[int64] {
	for _, p := range slices.Backward(t.points) {
		if !p.noise {
			return replica.Some(p.offset)
		}
	}
	return replica.Opt[int64]{}
}
