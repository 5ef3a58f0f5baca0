package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// series is one of a data set, with what is labelled in it.
type series struct {
	id, source string
	columns    []string // names in the journal; one for a scalar
	at         []int64  // unix ms
	values     [][]float64
	labels     []byte
	trainEnd   int // rows before it are the prefix
	windows    []window
	touched    []window // rows of faults that it may show and that are not labelled
}

// window is the rows of one fault in a series, both inclusive.
type window struct {
	fault      string
	start, end int
	onsetMS    int64
}

// export makes a data set of journals.
func export(out string, journals []string) error {
	if len(journals) == 0 {
		return errors.New("export needs the folder of a journal")
	}
	var all []series
	var made []madeFault
	for _, folder := range journals {
		j := journal(folder)
		m, err := j.meta()
		if err != nil {
			return err
		}
		ticks, err := j.ticks()
		if err != nil {
			return err
		}
		faults, err := j.faults()
		if err != nil {
			return err
		}
		all = append(all, m.series(ticks, faults)...)
		for _, f := range faults {
			made = append(made, madeFault{m.Name, f})
		}
	}
	return writeSet(out, all, made)
}

// series are all that the ticks hold, and those that put the series of a site side by side.
func (m meta) series(ticks []tick, faults []fault) []series {
	var out []series
	for _, mt := range metrics() {
		for _, name := range namesOf(mt.name, ticks) {
			out = append(out, m.one(name, mt.source, []string{name}, mt.tail, ticks, faults))
		}
	}
	for _, s := range sites() {
		out = append(out, m.one("site-"+s, sourceSite, siteColumns(s), 10*time.Second, ticks, faults))
	}
	return slices.DeleteFunc(out, func(s series) bool { return len(s.at) == 0 })
}

// namesOf are the names of a metric's series, sorted.
func namesOf(metric string, ticks []tick) []string {
	seen := map[string]bool{}
	var out []string
	for _, t := range ticks {
		for name := range t.Values {
			if m, _, _ := parts(name); m == metric && !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// siteColumns are the series about a site that others write, which go on when it dies.
func siteColumns(site string) []string {
	var out []string
	for _, m := range []string{"edge-requests", "edge-errors", "edge-latency", "edge-mean"} {
		out = append(out, m+"-"+site)
	}
	for _, m := range []string{"probe-state", "probe-duration", "link-state", "lag-exposure"} {
		for _, s := range sites() {
			switch {
			case s == site:
			case m == "probe-state", m == "probe-duration":
				out = append(out, m+"-"+s+"-"+site)
			default:
				out = append(out, m+"-"+site+"-"+s)
			}
		}
	}
	return out
}

// one is a series with its labels. A row in which a column is missing is missing.
func (m meta) one(name, source string, columns []string, tail time.Duration, ticks []tick, faults []fault) series {
	s := series{id: m.Name + "-" + name, source: source, columns: columns}
	for _, t := range ticks {
		row := make([]float64, 0, len(columns))
		for _, c := range columns {
			if v, ok := t.Values[c]; ok {
				row = append(row, v)
			}
		}
		if len(row) == len(columns) {
			s.at, s.values = append(s.at, t.AtMS), append(s.values, row)
		}
	}
	s.labels = make([]byte, len(s.at))
	s.trainEnd = first(s.at, m.BeganMS+m.Prefix.Milliseconds())
	for _, f := range faults {
		w, ok := s.rows(m, f, tail)
		switch {
		case !ok:
		case slices.ContainsFunc(columns, f.seen):
			s.windows = append(s.windows, w)
			for i := w.start; i <= w.end; i++ {
				s.labels[i] = 1
			}
		case slices.ContainsFunc(columns, f.touches):
			s.touched = append(s.touched, w)
		}
	}
	return s
}

// rows are those of a fault and of the tail after it; false without any.
func (s *series) rows(m meta, f fault, tail time.Duration) (window, bool) {
	w := window{fault: m.faultName(f), start: first(s.at, f.Start.UnixMilli()), end: len(s.at) - 1, onsetMS: f.Start.UnixMilli()}
	if !f.End.IsZero() {
		w.end = first(s.at, f.End.Add(tail).UnixMilli()+1) - 1
	}
	return w, w.start <= w.end
}

func (m meta) faultName(f fault) string { return fmt.Sprintf("%s-%02d", m.Name, f.ID) }

// first is the index of the first time that is not before ms.
func first(at []int64, ms int64) int {
	i, _ := slices.BinarySearch(at, ms)
	return i
}
