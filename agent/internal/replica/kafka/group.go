package kafka

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Group says what a look shows of a consumer group. It reads no clock; memory is changed.
func Group(l LinkSpec, row GroupRow, m *Memory) replica.Sighting {
	s := l.sighting()
	if len(row.Partitions) == 0 {
		return failed(s, &Failure{replica.ReasonMisconfigured, "the group has committed nothing, and no topics are declared: peer names them"})
	}
	parts := slices.SortedFunc(slices.Values(row.Partitions), func(a, b PartitionRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	sum := tally{now: row.Now, members: row.Members.Or(1) > 0}
	kept := map[Place]*window{}
	for _, p := range parts {
		if p.Committed.OK && p.Committed.V > p.End {
			return failed(s, &Failure{replica.ReasonDisagree, fmt.Sprintf("the group has committed more of %s than there is: the topic was made anew", p.Topic)})
		}
		w := m.partitions[p.Place]
		if w == nil {
			w = &window{}
		}
		kept[p.Place] = w
		sum.add(p, w)
	}
	m.partitions = kept
	s.Messages = replica.Some(sum.messages)
	s.Position, s.Written = digest(parts, func(p PartitionRow) int64 { return p.Committed.Or(-1) }), digest(parts, func(p PartitionRow) int64 { return p.End })
	s.Extra = sum.extra(row.Members)
	return sum.judge(s)
}

// tally adds up partitions. The lag of a link is that of its worst partition.
type tally struct {
	now                      time.Time
	members                  bool
	messages, lost, noCommit int64
	behind, unbounded        bool
	lower, upper             time.Duration
	worst                    Status
}

func (t *tally) add(p PartitionRow, w *window) {
	from := p.Start
	switch {
	case !p.Committed.OK:
		w.reached(p.End, t.now)
		if p.End > p.Start {
			t.noCommit++
		}
	default:
		from = max(from, p.Committed.V)
		t.lost += max(p.Start-p.Committed.V, 0)
		w.note(p.Committed.V, p.End, t.now)
		status := w.status(t.members)
		if !p.First.OK && !p.Unread {
			status = OK // marks of transactions are not read by anybody
		}
		t.worst = max(t.worst, status)
	}
	if !p.First.OK && !p.Unread {
		return
	}
	if p.After.OK && p.After.V >= p.End {
		return // all that was there when the ends were read has been read by now
	}
	t.behind = true
	t.messages += max(p.End-from, 0)
	lower := w.since(from, t.now)
	if p.First.OK {
		lower = w.since(p.First.V.Offset, t.now)
		age := t.now.Sub(p.First.V.At)
		if p.First.V.Appended {
			lower = max(age, 0)
		}
		t.upper = max(t.upper, age)
		if age < 0 && t.upper == 0 {
			t.upper = age
		}
		if p.After.OK && p.After.V > p.First.V.Offset {
			lower = 0
		}
	} else {
		t.unbounded = true
	}
	t.lower = max(t.lower, lower)
}

func (t *tally) judge(s replica.Sighting) replica.Sighting {
	s.State = replica.CaughtUp
	if t.behind {
		s.State = replica.CatchingUp
		s.Lower = replica.Some(t.lower)
		s.SourceClock, s.Resolution = true, time.Millisecond
		if t.unbounded {
			s.Reason, s.Detail = replica.ReasonNotMeasured, "the first unread record could not be read in time"
		} else {
			s.Upper = replica.Some(t.upper)
		}
	}
	switch {
	case !t.members && !t.behind:
		// All is read, by nobody who is still there.
		s.State, s.Detail = replica.ApplierStopped, "the group has no members"
		s.Lower, s.Upper = replica.Some(time.Duration(0)), replica.Some(time.Duration(0))
	case t.worst == Stop:
		s.State, s.Reason, s.Detail = replica.ApplierStopped, "", "the group has no members, and records wait"
	case t.worst == Stall:
		s.State, s.Reason, s.Detail = replica.ApplierStopped, replica.ReasonStale, "records wait, and the group does not go on"
	case t.worst == Rewind && t.behind:
		s.Detail = "the group went back to an older offset"
	case t.worst == Warning:
		s.Detail = "the group is slower than its producers"
	}
	if t.noCommit > 0 {
		s.Reason, s.Detail = replica.ReasonNotMeasured, fmt.Sprintf("the group has committed nothing of %d partitions that hold records", t.noCommit)
		s.Upper = replica.Opt[time.Duration]{}
		if !t.members {
			s.State = replica.ApplierStopped
		}
	}
	if t.lost > 0 {
		s.Reason, s.Detail = replica.ReasonLost, fmt.Sprintf("%d records were deleted before the group read them", t.lost)
	}
	return s
}

func (t *tally) extra(members replica.Opt[int]) []replica.Measure {
	out := []replica.Measure{
		{Name: "kafka.messages.lost", Unit: "{message}", Value: float64(t.lost)},
		{Name: "kafka.partitions.no_commit", Unit: "{partition}", Value: float64(t.noCommit)},
	}
	if t.worst != NotJudged {
		out = append(out, replica.Measure{Name: "kafka.group.status", Unit: "1", Value: float64(t.worst)})
	}
	if members.OK {
		out = append(out, replica.Measure{Name: "kafka.group.members", Unit: "{member}", Value: float64(members.V)})
	}
	return out
}

// digest is equal for equal offsets of the same partitions.
func digest(parts []PartitionRow, offset func(PartitionRow) int64) string {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%s %d %d\n", p.Topic, p.Partition, offset(p))
	}
	return strconv.FormatUint(h.Sum64(), 16)
}
