package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// timing is how patient the replicas are with each other.
//
// etcd wants a heartbeat of about the longest round trip and an election of ten of them. A leader proves itself by
// a write at least every beat; it stops by itself stop after the last proof was begun, and nobody takes over before
// term has passed since the last proof was seen. Since it was seen after it was begun, and stop is well below
// term, the old one has stopped strictly before another can act, whatever the wall clocks say.
type timing struct {
	tick, election   time.Duration
	beat, stop, term time.Duration
}

// Patterns are the names of the timings: how far apart the replicas are.
func Patterns() []string { return []string{"same-city", "cross-region", "global"} }

const defaultPattern = "cross-region"

func timingOf(pattern string) (timing, error) {
	const s, ms = time.Second, time.Millisecond
	switch pattern {
	case "same-city":
		return timing{tick: 100 * ms, election: s, beat: 500 * ms, stop: 3600 * ms, term: 6 * s}, nil
	case "", defaultPattern:
		return timing{tick: 250 * ms, election: 2500 * ms, beat: s, stop: 6 * s, term: 10 * s}, nil
	case "global":
		return timing{tick: 500 * ms, election: 5 * s, beat: s, stop: 9 * s, term: 15 * s}, nil
	}
	return timing{}, &core.Error{
		Code: core.CodeInvalid, Message: "there is no pattern " + pattern,
		Hint: "use one of " + strings.Join(slices.Sorted(slices.Values(Patterns())), ", "),
	}
}
