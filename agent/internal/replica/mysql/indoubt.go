package mysql

import (
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// inDoubt counts prepared transactions and tells how old the oldest is at least: the server does not say when it was prepared,
// so that it is since the agent first saw it. before is what it returned at the look before.
func inDoubt(names replica.Opt[[]string], before map[string]time.Time, at time.Time) (map[string]time.Time, []replica.Measure) {
	if !names.OK {
		return before, nil
	}
	now := map[string]time.Time{}
	oldest := at
	for _, name := range names.V {
		now[name] = at
		if since, ok := before[name]; ok {
			now[name] = since
		}
		if now[name].Before(oldest) {
			oldest = now[name]
		}
	}
	out := []replica.Measure{{Name: "transactions.in_doubt", Unit: "1", Value: float64(len(names.V))}}
	if len(names.V) > 0 {
		out = append(out, replica.Measure{Name: "transactions.in_doubt.oldest", Unit: "s", Value: at.Sub(oldest).Seconds()})
	}
	return now, out
}
