package health

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// signalState is the newest word of one detector on one series.
type signalState struct {
	signal core.Signal
	at     int64
	until  int64
	onset  int64 // start of the present anomaly, 0 while there is none
	path   string
	// voidUntil is set when Judge finds that a change of routing explains the anomaly.
	voidUntil int64
	alarmed   bool    // until it is normal again: what is not known for a while does not end an alarm
	odd       int     // odd points in the window under way
	least     float64 // the smallest chance of them; 0 for none
}

// Signal takes the word of a detector in, and reports whether a judgement may be another one by it. Only symptoms and
// causes are signals; an older word than the one known is ignored. Of a series that is not anomalous and was not lately
// nothing is kept: what is bounded are the anomalies, not the series that are watched.
func (t *Tracker) Signal(s core.Signal) (matters bool) {
	_, known := t.vIndex[s.Subject.Site]
	if !s.Subject.WholeSite() {
		_, known = t.sIndex[key{s.Subject.Site, s.Subject.Service}]
	}
	if !known {
		t.counts.Unknown++
		return false
	}
	if (s.Class != core.ClassSymptom && s.Class != core.ClassCause) || s.At.IsZero() {
		t.counts.Malformed++
		return false
	}
	told := t.tally(s)
	t.count(s)
	anomalous := s.State == core.DetectorAnomalous
	if !anomalous && len(t.signals) == 0 {
		return false
	}
	at := s.At.UnixNano()
	id := signalID(s)
	old, ok := t.signals[id]
	switch {
	case ok && (at < old.at || (at == old.at && !worse(s, old.signal))):
		t.counts.Duplicate++
		return false
	case ok:
	case !anomalous:
		return false
	case len(t.signals) >= maxSignals && !t.forget(at):
		t.counts.Dropped++
		return false
	default:
		old = &signalState{}
		t.signals[id], t.signalIDs = old, nil
	}
	if every(s) != every(old.signal) { // from now on it has another window
		old.odd, old.least = 0, 0
	}
	if told && counts(s) {
		if at > old.at {
			old.odd++
		}
		if chance := max(smallestChance, 1-s.Score) * float64(every(s)) / float64(interval(s)); old.least == 0 || chance < old.least {
			old.least = chance
		}
	}
	if at > old.until { // what was known is too old to be continued
		old.onset = 0
	}
	old.until = at + int64(min(VoteIntervals*interval(s), maxSignalAge))
	old.signal, old.at, old.path = s, at, t.signalPath(s)
	old.signal.Labels = nil // the caller's map is not retained
	switch {
	case anomalous && !old.alarmed:
		old.alarmed = true
		if s.Calibrated() {
			t.raise(alarm{subject: s.Subject, at: at})
		}
	case s.State == core.DetectorNormal:
		old.alarmed = false
	}
	matters = anomalous || old.onset != 0
	if !anomalous {
		old.onset = 0
	} else if old.onset == 0 {
		old.onset = at
		if since := s.Since.UnixNano(); !ok && !s.Since.IsZero() && since < min(at, t.start) { // an alarm from before a restart goes on
			old.onset = since
		}
	}
	return matters
}

// interval is how long after a word of a series the next one is due.
func interval(s core.Signal) time.Duration {
	if s.Interval <= 0 {
		return 10 * time.Second
	}
	return s.Interval
}

// sortedSignals are the keys of the signals in their order.
func (t *Tracker) sortedSignals() []string {
	if t.signalIDs == nil {
		t.signalIDs = slices.Sorted(maps.Keys(t.signals))
	}
	return t.signalIDs
}

// forget makes room for an anomaly of a time: what is over or too old goes. It looks once for each time, for it looks at
// all, and reports whether there is room.
func (t *Tracker) forget(at int64) bool {
	if at > t.forgotAt {
		t.forgotAt, t.signalIDs = at, nil
		maps.DeleteFunc(t.signals, func(_ string, o *signalState) bool { return o.until < at || o.onset == 0 && o.at < at })
	}
	return len(t.signals) < maxSignals
}

// worse orders two words about the same series at the same time.
func worse(a, b core.Signal) bool {
	if a.State != b.State {
		return a.State > b.State
	}
	return a.Score > b.Score
}

func signalID(s core.Signal) string {
	var b strings.Builder
	for _, part := range []string{s.Detector, s.Subject.Key(), s.Class.String()} {
		b.WriteString(part)
		b.WriteByte(0)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(s.Labels[name])
		b.WriteByte(0)
	}
	return b.String()
}

// signalPath is the way the series came: that of its writer, where it still says who wrote it.
func (t *Tracker) signalPath(s core.Signal) string {
	writer := s.Labels["site"]
	if writer == "" {
		return PathUnknown
	}
	if writer == s.Subject.Site {
		return "local:" + writer
	}
	if v, ok := t.vIndex[writer]; ok {
		return t.vantages[v].userPath[t.vIndex[s.Subject.Site]]
	}
	if t.isEdge(writer) {
		return "edge:" + writer
	}
	return PathUnknown
}

// objection is the worst series of a detector that it finds odd, and the others, the worse first.
type objection struct {
	*signalState
	others []*signalState
}

// signalEvidence is what detectors hold against each subject, sorted by class and detector: one objection of each.
// Statistics about traffic that we or someone else has just moved are void.
func (t *Tracker) signalEvidence(now int64, routes []route) [][]objection {
	if len(t.signals) == 0 {
		return nil
	}
	var odd [][]*signalState
	var touched []int
	add := func(i int, st *signalState) {
		if odd == nil {
			odd = make([][]*signalState, len(t.subjects))
		}
		odd[i] = append(odd[i], st)
	}
	for _, id := range t.sortedSignals() {
		st := t.signals[id]
		if st.onset == 0 || now > st.until {
			continue
		}
		touched = touched[:0]
		for i, s := range t.subjects {
			if !st.signal.Subject.Covers(s.subject) {
				continue
			}
			touched = append(touched, i)
			switch r := &routes[i]; {
			case r.away:
				st.voidUntil = max(st.voidUntil, now+int64(Rebase))
			case r.changedAt != 0 && st.onset >= r.changedAt && st.onset < r.changedAt+int64(Rebase):
				st.voidUntil = max(st.voidUntil, r.changedAt+int64(Rebase))
			}
		}
		if st.signal.Class == core.ClassSymptom && now <= st.voidUntil {
			continue
		}
		for _, i := range touched {
			add(i, st)
		}
	}
	if odd == nil {
		return nil
	}
	out := make([][]objection, len(odd))
	for i := range odd {
		slices.SortStableFunc(odd[i], func(a, b *signalState) int {
			if a.signal.Class != b.signal.Class {
				return int(a.signal.Class) - int(b.signal.Class)
			}
			if c := strings.Compare(a.signal.Detector, b.signal.Detector); c != 0 {
				return c
			}
			switch {
			case a.signal.Score > b.signal.Score:
				return -1
			case a.signal.Score < b.signal.Score:
				return 1
			}
			return 0
		})
		for _, st := range odd[i] {
			n := len(out[i])
			if n > 0 && out[i][n-1].signal.Class == st.signal.Class && out[i][n-1].signal.Detector == st.signal.Detector {
				out[i][n-1].others = append(out[i][n-1].others, st)
			} else {
				out[i] = append(out[i], objection{signalState: st})
			}
		}
	}
	return out
}

// rewindSignals forgets what was said after now: the clock went back, and newer words would look older.
func (t *Tracker) rewindSignals(now int64) {
	maps.DeleteFunc(t.signals, func(_ string, st *signalState) bool { return st.at > now })
	t.signalIDs, t.forgotAt = nil, 0
}
