package postgresql

import (
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func counter(name, unit string, value int64, label, of string) replica.Measure {
	return replica.Measure{Name: name, Unit: unit, Value: float64(value), Counter: true, Labels: map[string]string{label: of}}
}

func gauge(name, unit string, value float64) replica.Measure {
	return replica.Measure{Name: name, Unit: unit, Value: value}
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }

// measures are the figures of a slot. A figure that is NULL has no measure.
func (s slotRow) measures() []replica.Measure {
	active := 0.0
	if s.Active {
		active = 1
	}
	out := []replica.Measure{gauge("slot.active", "1", active)}
	bytes := func(name string, value sql.Null[int64]) {
		if value.Valid {
			out = append(out, gauge(name, "By", float64(value.V)))
		}
	}
	bytes("slot.retained", s.Retained)
	bytes("slot.unconfirmed", s.Unconfirmed)
	bytes("slot.safe", s.SafeSize)
	if s.WALStatus.Valid {
		status := gauge("slot.wal_status", "1", 1)
		status.Labels = map[string]string{"status": s.WALStatus.V}
		out = append(out, status)
	}
	for i := range out {
		labels := map[string]string{"slot": s.Name}
		maps.Copy(labels, out[i].Labels)
		out[i].Labels = labels
	}
	return out
}

// measures are the lags that the server itself measured when the peer last moved. They do not grow while it stands still.
func (r sourceRow) measures() []replica.Measure {
	var out []replica.Measure
	seconds := func(name string, value sql.Null[float64]) {
		if value.Valid {
			out = append(out, gauge(name, "s", value.V))
		}
	}
	seconds("commit_delay.write", r.WriteLag)
	seconds("commit_delay.flush", r.FlushLag)
	seconds("commit_delay.replay", r.ReplayLag)
	if r.SyncState.Valid {
		state := gauge("sync_state", "1", 1)
		state.Labels = map[string]string{"state": r.SyncState.V}
		out = append(out, state)
	}
	return out
}

// timeline is the number that both ends must share before the target may take over.
func timeline(number sql.Null[int64]) []replica.Measure {
	if !number.Valid {
		return nil
	}
	return []replica.Measure{gauge("timeline", "1", float64(number.V))}
}

// measures are the figures of the server as a whole.
func (r extraRow) measures() []replica.Measure {
	var out []replica.Measure
	if r.InDoubt.Valid {
		out = append(out, gauge("in_doubt", "{transaction}", float64(r.InDoubt.V)))
	}
	if r.InDoubtOldest.Valid {
		out = append(out, gauge("in_doubt.oldest", "s", r.InDoubtOldest.V))
	}
	conflicts, err := parseCounters(r.Conflicts.V)
	if err != nil {
		return out
	}
	for _, cause := range sortedKeys(conflicts) {
		out = append(out, counter("standby.conflicts", "{query}", conflicts[cause], "cause", cause))
	}
	return out
}

// delayMeasure is how far behind the standby is told to stay.
func delayMeasure(delay time.Duration) []replica.Measure {
	if delay <= 0 {
		return nil
	}
	return []replica.Measure{gauge("apply_delay", "s", delay.Seconds())}
}
