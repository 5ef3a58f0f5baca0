package detect

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Backtest is the past by which a watch is judged as if it had been there.
type Backtest struct {
	Watch       Watch
	From, Until time.Time
	Querier     Querier
	Zone        func(site string) *time.Location   // as in Options
	Marks       func(from, until time.Time) []Mark // as in Options, of all that time and of the training window before it
	// Said is what people said of an alarm; empty: nothing. It may be nil.
	Said     func(watch, series string, onset time.Time) core.Said
	Progress func(at time.Time) // hears at each tick how far it is; may be nil
	// MaxPoints is how many points it may take, of all series together; 0 means 100 million, some seven minutes.
	MaxPoints int
	// Told hears what Signals of Options would have; may be nil.
	Told func([]core.Signal)
}

// Judged is what the watch would have said. Points, Warming and Unknown are of series and ticks.
type Judged struct {
	Series    int           // that were there, judged or not
	Ticks     int           // that there were
	Points    int           // normal or anomalous
	Anomalous int           // of them
	Warming   int           // too few values so far
	Unknown   int           // missing, or not judged
	Weeks     float64       // that series were judged, all together
	Alarms    []JudgedAlarm // the oldest first
	Incidents []JudgedTime  // on record about what the watch is about, the oldest first
	Note      string        // what the figures do not say; empty: nothing
}

// JudgedAlarm is an alarm as it would have been raised: from the first anomalous value of a series to the last one before it was normal again.
type JudgedAlarm struct {
	Series   string
	Subject  core.Subject
	At, Last time.Time
	Sentence string // of its first value
	Known    string // what is on record of that time and subject, as incident, or right where a person said so; empty: nothing, so it counts as false
}

// JudgedTime is an incident and whether the watch saw it.
type JudgedTime struct {
	Subject     core.Subject
	From, Until time.Time // Until is zero while it is not over
	Met         bool
	After       time.Duration // from its beginning to the alarm; 0 where one was on before
}

// False is how many alarms nothing on record explains.
func (j Judged) False() (n int) {
	for _, a := range j.Alarms {
		if a.Known == "" {
			n++
		}
	}
	return n
}

// Rate is how many of those a series had in a week; NaN where none was judged.
func (j Judged) Rate() float64 {
	if j.Weeks == 0 {
		return math.NaN()
	}
	return float64(j.False()) / j.Weeks
}

// Met is how many incidents the watch saw, and after how long half of them.
func (j Judged) Met() (n int, median time.Duration) {
	var after []time.Duration
	for _, x := range j.Incidents {
		if x.Met {
			after = append(after, x.After)
		}
	}
	if len(after) == 0 {
		return 0, 0
	}
	slices.Sort(after)
	return len(after), after[(len(after)-1)/2]
}

// Run judges the past tick by tick, by the code of a running server: the training window is learned, and then each tick knows what came
// until then and nothing later. Nothing is written. Its error says what could not be asked, or what is too much; as far as it came is told then too.
func (b Backtest) Run(ctx context.Context) (out Judged, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	past := &ahead{ctx: ctx, querier: b.Querier, until: b.Until, known: map[string]*stretch{}}
	now := b.From
	book := &alarmBook{out: &out, on: map[string]int{}, subjects: map[core.Subject]time.Time{}, series: map[string]bool{}}
	m, err := New(Options{
		Watches: []Watch{b.Watch}, Querier: past, Writer: nowhere{}, Zone: b.Zone, Marks: b.Marks, Now: func() time.Time { return now }, Parallel: 1,
		Signals: func(told []core.Signal) {
			if b.Told != nil {
				b.Told(told)
			}
			book.hear(told)
		},
	})
	if err != nil {
		return out, err
	}
	w := m.watchers[0]
	asked, err := b.asked(ctx, w)
	if err != nil {
		return out, err
	}
	if asked == nil && b.Watch.model() == ModelAbsence {
		out.Note = "nobody wrote down when this watch was judged, so what is missing while the server was down counts as absent"
	}
	most := b.MaxPoints
	if most == 0 {
		most = maxReplay
	}
	for tick := w.schedule.Next(b.From.UTC()); !tick.IsZero() && !tick.After(b.Until); tick = w.schedule.Next(tick) {
		now = tick
		if asked != nil && !asked[tick.Add(-b.Watch.EvalDelay).UnixMilli()] {
			continue // and what came then is read when the watch is judged again, as a server does
		}
		w.prepare(ctx, tick, w.schedule.Next(tick))
		if past.err == nil {
			w.evaluate(ctx, tick)
		}
		switch {
		case past.err != nil:
			return out, past.err
		case ctx.Err() != nil:
			return out, ctx.Err() //nolint:wrapcheck // the end that the caller asked for
		}
		if out.Ticks++; out.Ticks == 1 {
			if ticks := int(b.Until.Sub(tick)/w.pause(tick)) + 1; len(w.series)*ticks > most {
				return out, &TooMuchError{Series: len(w.series), Points: len(w.series) * ticks, Most: most}
			}
		}
		if b.Progress != nil {
			b.Progress(tick)
		}
	}
	out.Series = len(book.series)
	b.explain(&out, book.subjects)
	return out, nil
}

// TooMuchError is of a time for which a watch has more points than may be judged.
type TooMuchError struct{ Series, Points, Most int }

func (e *TooMuchError) Error() string {
	return fmt.Sprintf("%d series are %d points, and %d are the most", e.Series, e.Points, e.Most)
}

// asked are the times at which the watch was judged, which absence goes by; nil where it does not matter or is not known.
func (b Backtest) asked(ctx context.Context, w *watcher) (map[int64]bool, error) {
	if b.Watch.model() != ModelAbsence || b.Watch.Every == 0 {
		return nil, nil
	}
	out := map[int64]bool{}
	first := w.schedule.Next(b.From.UTC()).Add(-b.Watch.EvalDelay)
	for from := first; !from.After(b.Until); from = from.Add(maxPart * b.Watch.Every) {
		to := from.Add((maxPart - 1) * b.Watch.Every)
		if to.After(b.Until) {
			to = b.Until
		}
		within, cancel := context.WithTimeout(ctx, maxQueryTime)
		err := b.Watch.askedIn(within, b.Querier, from, to, b.Watch.Every, out)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

const (
	// knownBefore is how long before what is on record an alarm may have begun that belongs to it: what is on record begins with the evidence of
	// others. One that was on for longer saw something else, or nothing.
	knownBefore = 2 * time.Minute
	// saidRight is what is known of an alarm that a person said was right.
	saidRight = "right"
)

// explain says of each alarm what is on record of its time, and of each incident whether it was seen. What a person said of an alarm stands.
func (b Backtest) explain(out *Judged, judged map[core.Subject]time.Time) {
	said := make([]core.Said, len(out.Alarms))
	for i := range out.Alarms {
		a := &out.Alarms[i]
		if b.Said != nil {
			said[i] = b.Said(b.Watch.Name, a.Series, a.At)
		}
		if said[i] == core.SaidTrue {
			a.Known = saidRight
		}
	}
	if b.Marks == nil {
		return
	}
	for _, m := range b.Marks(b.From, b.Until) {
		if m.Kind == MarkChange || m.Kind == MarkSpecial { // which explain no trouble
			continue
		}
		t := JudgedTime{Subject: m.Subject, From: m.From, Until: m.Until}
		for i := range out.Alarms {
			a := &out.Alarms[i]
			if !m.Subject.Overlaps(a.Subject) || a.At.Before(m.From.Add(-knownBefore)) || (!m.Until.IsZero() && a.At.After(m.Until)) || said[i] == core.SaidFalse {
				continue
			}
			if a.Known == "" || (m.Kind == MarkIncident && a.Known != saidRight) {
				a.Known = m.Kind.String()
			}
			if after := max(0, a.At.Sub(m.From)); !t.Met || after < t.After {
				t.Met, t.After = true, after
			}
		}
		there := false
		for s, first := range judged {
			there = there || m.Subject.Overlaps(s) && !first.After(m.From)
		}
		if m.Kind == MarkIncident && there {
			out.Incidents = append(out.Incidents, t)
		}
	}
	slices.SortStableFunc(out.Incidents, func(a, b JudgedTime) int { return a.From.Compare(b.From) })
}

// alarmBook counts what is told.
type alarmBook struct {
	out      *Judged
	on       map[string]int // alarms that are on, by series
	series   map[string]bool
	subjects map[core.Subject]time.Time // judged, since when
}

// hear counts alarms as the server counts them: one is over when the series is normal again.
func (k *alarmBook) hear(told []core.Signal) {
	for i := range told {
		s := &told[i]
		id := s.Subject.String() + "\xff" + s.Series
		i, on := k.on[id]
		k.series[id] = true
		switch s.State {
		case core.DetectorUnknown:
			k.out.Unknown++
			continue
		case core.DetectorWarming:
			k.out.Warming++
			continue
		case core.DetectorNormal:
			delete(k.on, id)
		case core.DetectorAnomalous:
			k.out.Anomalous++
			if on {
				k.out.Alarms[i].Last = s.At
				break
			}
			k.on[id] = len(k.out.Alarms)
			k.out.Alarms = append(k.out.Alarms, JudgedAlarm{
				Series: s.Series, Subject: s.Subject, At: s.At, Last: s.At, Sentence: strings.TrimPrefix(s.Sentence, s.Series+": "),
			})
		}
		if _, ok := k.subjects[s.Subject]; !ok {
			k.subjects[s.Subject] = s.At
		}
		k.out.Points++
		k.out.Weeks += float64(s.Interval) / float64(week)
	}
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, []core.Sample) error { return nil }

// ahead answers questions about single times from answers about stretches of time, which a Querier promises to be the same.
type ahead struct {
	ctx     context.Context //nolint:containedctx // of the backtest: that of a question is short, and a stretch takes longer
	querier Querier
	until   time.Time
	known   map[string]*stretch
	err     error // the first one; the rest is no past
}

// stretch is what is known of a question.
type stretch struct {
	from, to time.Time
	step     time.Duration
	series   []core.SeriesRange
	next     []int // of each series, the point that comes next
	points   int   // of each series, that are asked for at once
}

// QueryRange implements Querier.
func (a *ahead) QueryRange(_ context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	within, cancel := context.WithTimeout(a.ctx, maxQueryTime)
	defer cancel()
	out, err := a.querier.QueryRange(within, expr, from, to, step) //nolint:contextcheck // see ctx
	if err != nil && a.err == nil {
		a.err = err
	}
	return out, err //nolint:wrapcheck // as that of the store
}

// Query implements Querier.
func (a *ahead) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	s := a.known[expr]
	if s == nil || s.step != step || at.Before(s.from) || at.After(s.to) || at.Sub(s.from)%step != 0 {
		points := minPart
		if s != nil {
			points = s.points
		}
		s = &stretch{from: at, to: at.Add(time.Duration(points-1) * step), step: step}
		if s.to.After(a.until) {
			s.to = at.Add(max(0, a.until.Sub(at)).Truncate(step))
		}
		var err error
		if s.series, err = a.QueryRange(ctx, expr, at, s.to, step); err != nil {
			return nil, err
		}
		s.next, s.points = make([]int, len(s.series)), min(max(partPoints/max(1, len(s.series)), minPart), maxPart)
		a.known[expr] = s
	}
	var out []core.SeriesValue
	for i, x := range s.series {
		for s.next[i] < len(x.Times) && x.Times[s.next[i]].Before(at) {
			s.next[i]++
		}
		if j := s.next[i]; j < len(x.Times) && x.Times[j].Equal(at) {
			out = append(out, core.SeriesValue{Labels: x.Labels, Value: x.Values[j], At: at})
		}
	}
	return out, nil
}
