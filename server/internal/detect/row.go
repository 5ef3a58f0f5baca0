package detect

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// rows are the values that are judged together, by what they have in common.
type rows map[string]*row

// row is the values of one tick for one model: those of all siblings for peers, each of which is a series that is judged; and
// else those of one subject, which is the one series. A value that is not there is NaN, and never zero.
type row struct {
	watch Watch
	peers *detectors.Peers
	whole *kept[*detectors.Service]
	burn  *detectors.BurnRate

	places map[string]int // of a value in the row
	names  []string       // of the values in sentences
	series []*series      // one a place for peers, and else one
	values []float64
	heard  []time.Time // when each place had a value last
	paces  []cadence   // of each place of a service
	at     time.Time   // of the last row
	of     []string    // the question of each place
	wrong  []string    // of each place of this row, why its value is none; empty where it is one
}

// newRows is nil for the models of one series.
func (w Watch) newRows() rows {
	if w.model() == ModelPeers || w.model() == ModelService || w.Bad != "" {
		return rows{}
	}
	return nil
}

func (w Watch) newRow(zone *time.Location) *row {
	r := &row{watch: w, places: map[string]int{}}
	switch w.model() {
	case ModelPeers:
		r.peers = w.peers()
	case ModelService:
		whole := newKept(func() *detectors.Service {
			m := w.whole(zone)
			if len(w.Floors) > 0 {
				m.Floor = func(i int) (absolute, relative float64) { f := w.Floors[r.of[i]]; return f.Absolute, f.Relative }
			}
			return m
		})
		r.whole = &whole
	case ModelBurnRate:
		r.burn = w.burnRate()
		for i, name := range []string{questionBad, questionTotal} {
			r.add(name, i, name, name)
		}
	}
	return r
}

// add gives a value a place, which is the next one or one that is free again.
func (r *row) add(place string, i int, name, question string) {
	if i == len(r.values) {
		r.names, r.values, r.heard = append(r.names, ""), append(r.values, 0), append(r.heard, time.Time{})
		r.of, r.wrong = append(r.of, ""), append(r.wrong, "")
		if r.whole != nil {
			r.paces = append(r.paces, cadence{})
		}
	}
	r.places[place], r.names[i], r.values[i], r.heard[i], r.of[i] = i, name, math.NaN(), r.at, question
}

// free lets a value go that has not been there for so long, and returns its place; false: there is none. Only a service has so
// many values that come and go: those of its hosts.
func (r *row) free(gone time.Duration) (i int, ok bool) {
	if r.whole == nil {
		return 0, false
	}
	longest := ""
	for place, i := range r.places { // the one that is gone for the longest time, wherever the map begins
		if j, ok := r.places[longest]; !ok || r.heard[i].Before(r.heard[j]) || (r.heard[i].Equal(r.heard[j]) && i < j) {
			longest = place
		}
	}
	if i, ok = r.places[longest]; !ok || r.at.Sub(r.heard[i]) < gone {
		return 0, false
	}
	delete(r.places, longest)
	r.whole.each(func(m *detectors.Service) { m.Forget(i) })
	r.paces[i] = cadence{}
	return i, true
}

// place says of a value which row it belongs to, which of its places is its own, and what it is called; and which labels
// the series has that is judged by it.
func (w Watch) place(question string, labels map[string]string) (row, place, name string, of map[string]string) {
	switch w.model() {
	case ModelPeers:
		place, _ = seriesKey(w.Name, labels)
		row, _ = seriesKey(w.Name, w.common(labels))
		return row, place, "", labels
	case ModelBurnRate:
		row, _ = seriesKey(w.Name, labels)
		return row, question, question, labels
	}
	of, rest := map[string]string{}, map[string]string{}
	site, _, _ := strings.Cut(string(w.About), ".")
	for label, value := range labels {
		switch label {
		case "__name__":
		case site, "service":
			of[label] = value
		default:
			rest[label] = value
		}
	}
	row, _ = seriesKey(w.Name, of)
	name = question
	name += selector(rest)
	return row, name, name, of
}

// common is what siblings have in common: their labels without the site they are about.
func (w Watch) common(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	switch w.About {
	case AboutSite, AboutTargetSite:
		delete(out, string(w.About))
	case AboutLinkFrom, AboutLinkTo:
		store, ends, _ := strings.Cut(labels["link"], ":")
		from, to, _ := strings.Cut(ends, ">")
		if w.About == AboutLinkFrom {
			from = ""
		} else {
			to = ""
		}
		out["link"] = store + ":" + from + ">" + to
	}
	return out
}

// takeRows puts the values of all answers into their rows, and gives these to their models.
func (w *watcher) takeRows(answers []answer[core.SeriesValue], at time.Time) {
	w.tidy()
	marks := w.marksFor(at.Add(-changeSettles), at)
	for _, a := range answers {
		for _, x := range a.series {
			if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) {
				w.ignore(ignoredNotFinite)
				continue
			}
			r, i := w.seat(a.name, x.Labels)
			switch {
			case r == nil:
				w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
				w.tooMany.add(x.Labels)
			case !math.IsNaN(r.values[i]):
				w.ignore(ignoredDuplicate)
			case !w.watch.valid(a.name).holds(x.Value):
				w.ignore(ignoredInvalid)
				r.wrong[i] = w.watch.valid(a.name).refusal(x.Value)
			default:
				r.values[i] = x.Value
			}
		}
	}
	seen := map[*series]bool{}
	for _, key := range slices.Sorted(maps.Keys(w.rows)) {
		r := w.rows[key]
		r.judge(at, w.interval(at), marks, func(s *series) {
			seen[s] = true
			s.unknown, s.gone = "", time.Time{}
			if !s.known {
				w.ignore(ignoredSubject)
				w.aboutNothing.add(s.labels)
			}
		})
	}
	for _, s := range w.series {
		if seen[s] {
			s.void(w.watch, s.marked(at, marks), false)
		} else {
			w.miss(s, at)
		}
	}
}

// tidy lets go of the rows of which no series is kept.
func (w *watcher) tidy() {
	for key, r := range w.rows {
		if !slices.ContainsFunc(r.series, func(s *series) bool { return s != nil && w.series[s.key] == s }) {
			delete(w.rows, key)
		}
	}
}

// seat is the place of a value, made where it is new; nil when the watch has as many as it may have.
func (w *watcher) seat(question string, labels map[string]string) (r *row, i int) {
	key, place, name, of := w.watch.place(question, labels)
	r = w.rows[key]
	if r == nil {
		subject, _ := w.watch.subject(of)
		r = w.watch.newRow(w.zone(subject.Site))
	}
	i, ok := r.places[place]
	again := false
	if !ok && !r.at.IsZero() {
		i, again = r.free(w.watch.forgetAfter(w.interval(r.at)))
	}
	if !ok && !again {
		i = len(r.values)
	}
	j := 0
	if r.peers != nil {
		j = i
	}
	if !ok && !again && w.rows.seats() >= w.watch.maxSeries() {
		return nil, 0
	}
	if j >= len(r.series) || w.series[r.series[j].key] != r.series[j] {
		id, written := seriesKey(w.watch.Name, of)
		s := w.lookup(id, written, of)
		if s == nil {
			return nil, 0
		}
		if j == len(r.series) {
			r.series = append(r.series, s)
		}
		r.series[j] = s
	}
	if !ok {
		r.add(place, i, name, question)
	}
	r.heard[i] = r.at // it is among the answers, and nobody else's place
	w.rows[key] = r
	return r, i
}

// seats is how many values the rows have room for.
func (all rows) seats() int {
	n := 0
	for _, r := range all {
		n += len(r.values)
	}
	return n
}

// judge gives the row to its model, and begins the next one. Seen hears of each series that had a value.
func (r *row) judge(at time.Time, interval time.Duration, marks []Mark, seen func(*series)) {
	if r.whole != nil {
		r.whole.turn(at, r.series[0].marked(at, marks).noExample())
	}
	r.at = at
	defer func() {
		for i := range r.values {
			if !math.IsNaN(r.values[i]) {
				r.heard[i] = at
			}
			r.values[i], r.wrong[i] = math.NaN(), ""
		}
	}()
	wrong := r.refused()
	if r.peers == nil && wrong != "" {
		s := r.series[0]
		seen(s)
		s.lastAt, s.unknown = at, "not judged, "+wrong
	}
	if !slices.ContainsFunc(r.values, func(x float64) bool { return !math.IsNaN(x) }) {
		return
	}
	switch {
	case r.peers != nil:
		r.partSpecial(at, marks, seen)
		for i, why := range r.wrong {
			if why != "" {
				seen(r.series[i])
				r.series[i].lastAt, r.series[i].unknown = at, "not judged, "+why
			}
		}
		for i, v := range r.peers.Observe(at, r.values) {
			if !math.IsNaN(r.values[i]) {
				seen(r.series[i])
				r.series[i].judged(v, at)
			}
		}
	case r.whole != nil:
		s := r.series[0]
		seen(s)
		for i, x := range r.values {
			if !math.IsNaN(x) {
				r.paces[i].observe(at, x, interval)
			}
		}
		v := r.whole.heard(r.whole.judge().Observe(at, r.values))
		s.judged(v, at)
		if s.note = wrong; wrong != "" {
			s.note += " and passed over"
		}
		if v.State == detectors.StateAnomalous {
			s.contributors, s.still = r.contributors(interval)
		}
	case slices.ContainsFunc(r.values, math.IsNaN):
		s := r.series[0]
		seen(s)
		if i := slices.IndexFunc(r.values, math.IsNaN); wrong == "" {
			s.unknown = "unknown, " + r.names[i] + " has no value"
		} else {
			s.unknown = "not judged, " + wrong
		}
	default:
		s := r.series[0]
		seen(s)
		s.judged(r.burn.ObserveCounts(at, r.values[0], r.values[1]), at)
	}
}

// refused says of which values of the row why they are none, empty where there is none such.
func (r *row) refused() string {
	var parts []string
	for i, why := range r.wrong {
		if why != "" {
			parts = append(parts, r.names[i]+" "+why)
		}
	}
	return strings.Join(parts, ", ")
}

// topContributors is how many values of an anomaly are told.
const topContributors = 3

// contributors are the values that the anomaly of the last row comes from. Still says that one of them is written more seldom than the watch
// asks, or hardly ever moves: the rows in between say what it said, once more.
func (r *row) contributors(interval time.Duration) (out []core.Contributor, still bool) {
	var top [topContributors]detectors.Contributor
	n := r.whole.judge().Contributors(top[:])
	out = make([]core.Contributor, 0, n)
	for _, c := range top[:n] {
		out = append(out, core.Contributor{Name: r.names[c.Index], Value: c.Value, Expected: c.Expected, PerWeek: c.PerWeek})
		slow, unknown := r.paces[c.Index].of(interval)
		still = still || unknown || slow > 0
	}
	return out, still
}

// lane is the past of one value of a row.
type lane struct {
	question, key string // the key of its place
	place         int    // -1: it has none yet
	core.SeriesRange
}

// replayRows gives the rows of the past to their models. A value has its place from when it was there first, so that those who
// came after others were gone have the places of these.
func (w *watcher) replayRows(pasts []answer[core.SeriesRange], marks []Mark) {
	lanes := map[string][]lane{}
	for _, past := range pasts {
		for _, x := range past.series {
			row, key, _, _ := w.watch.place(past.name, x.Labels)
			if r := w.rows[row]; r != nil {
				for len(x.Times) > 0 && !x.Times[0].After(r.at) { // known from before a restart
					x.Times, x.Values = x.Times[1:], x.Values[1:]
				}
			}
			if slices.ContainsFunc(lanes[row], func(l lane) bool { return l.key == key }) {
				w.ignore(ignoredDuplicate)
				continue
			}
			lanes[row] = append(lanes[row], lane{past.name, key, -1, x})
		}
	}
	for _, of := range lanes {
		var r *row
		for {
			var at time.Time
			for i := range of {
				if l := &of[i]; len(l.Times) > 0 && (at.IsZero() || l.Times[0].Before(at)) {
					at = l.Times[0]
				}
			}
			if at.IsZero() {
				break
			}
			if r = w.fill(r, of, at); r != nil {
				r.judge(at, w.interval(at), marks, func(s *series) { s.unknown = "" })
			}
		}
	}
}

// fill puts the values of a time into their row, which is nil as long as none of them has a place.
func (w *watcher) fill(r *row, of []lane, at time.Time) *row {
	for i := range of {
		l := &of[i]
		if len(l.Times) == 0 || !l.Times[0].Equal(at) {
			continue
		}
		x := l.Values[0]
		l.Times, l.Values = l.Times[1:], l.Values[1:]
		if r == nil || l.place < 0 || !r.has(l.key, l.place) {
			found, place := w.seat(l.question, l.Labels)
			if found == nil {
				w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
				l.Times = nil
				continue
			}
			r, l.place = found, place
		}
		if !math.IsInf(x, 0) && w.watch.valid(l.question).holds(x) {
			r.values[l.place] = x
		}
	}
	return r
}

// has reports whether a value has still the place that it had.
func (r *row) has(key string, place int) bool {
	i, ok := r.places[key]
	return ok && i == place
}
