package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

const (
	quietBlock  = 12          // rows that stay together in the quiet that is made
	before      = 4           // rows of the recording before each fault
	onceMore    = time.Minute // an alarm that comes back sooner is the same one
	weeksAMonth = 365.25 / 7 / 12
)

// limits are what a site may raise by chance, a month.
func limits() []float64 { return []float64{weeksAMonth, 1, 0.25} }

// figures are what judging the sites of a set as wholes came to.
type figures struct {
	days    float64
	quiet   []int                        // episodes without a fault, by limit
	soonest map[string][]time.Duration   // by fault, by limit: from the onset; negative: never
	faults  map[string]map[string]string // rows of faults.csv
}

// judgeSites says how soon detectors.Service sees the faults of a set that users or copies feel, and how often it sees one where there
// is none. A recording has no more than a quarter of an hour without a fault and then one every few minutes, so quiet of that
// many days is made first, of blocks of two minutes of the quarter of an hour, the same blocks for all series of a site. Each fault
// is judged by itself, as the first that follows this quiet.
func judgeSites(set string, days float64, seed uint64) (*figures, error) {
	out := &figures{quiet: make([]int, len(limits())), soonest: map[string][]time.Duration{}, faults: map[string]map[string]string{}}
	var windows, manifest []map[string]string
	var err error
	for name, into := range map[string]*[]map[string]string{"windows.csv": &windows, "manifest.csv": &manifest} {
		if *into, err = readTable(filepath.Join(set, name)); err != nil {
			return nil, err
		}
	}
	faults, err := readTable(filepath.Join(set, "faults.csv"))
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		out.faults[f["fault"]] = f
	}
	for i, s := range manifest {
		if s["source"] != "lab-site" {
			continue
		}
		at, rows, err := readSeries(filepath.Join(set, s["file"]))
		if err != nil {
			return nil, err
		}
		quiet, err := strconv.Atoi(s["train_end_index"])
		if err != nil || quiet <= quietBlock || quiet > len(rows) {
			return nil, fmt.Errorf("%s of %s: train_end_index %q is none of its rows", s["id"], set, s["train_end_index"])
		}
		site := &siteRows{at: at, rows: rows, quiet: quiet}
		snapshot, err := site.calm(out, days, rand.New(rand.NewPCG(seed, uint64(i)))) //nolint:gosec // i is the place in a slice
		if err != nil {
			return nil, err
		}
		for _, w := range windows {
			if f := out.faults[w["fault"]]; w["id"] == s["id"] && (f["kind"] == "slow" || f["kind"] == "errors" || f["kind"] == "lag") {
				if err := site.fail(out, snapshot, w); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(out.soonest) == 0 {
		return nil, fmt.Errorf("%s has no fault of slow, errors or lag in a series of lab-site", set)
	}
	return out, nil
}

// siteRows are the rows of one site, of which the first are quiet.
type siteRows struct {
	at    []time.Time
	rows  [][]float64
	quiet int
}

// calm lets a new model live through the quiet, counts what it raises, and returns what it has learned.
func (s *siteRows) calm(out *figures, days float64, rng *rand.Rand) ([]byte, error) {
	m := &detectors.Service{}
	n := int(days * 24 * float64(time.Hour/step))
	last := make([]time.Time, len(limits()))
	start := 0
	for k := -n; k < s.quiet; k++ {
		row := s.rows[max(k, 0)]
		if k < 0 {
			if (n+k)%quietBlock == 0 {
				start = rng.IntN(s.quiet - quietBlock + 1)
			}
			row = s.rows[start+(n+k)%quietBlock]
		}
		at := s.at[0].Add(time.Duration(k) * step)
		for i, within := range s.observe(m, at, row) {
			if !within {
				continue
			}
			if last[i].IsZero() || at.Sub(last[i]) > onceMore {
				out.quiet[i]++
			}
			last[i] = at
		}
	}
	out.days += float64(n+s.quiet) * step.Hours() / 24
	return m.Snapshot()
}

// fail lets a model that knows the quiet see one fault.
func (s *siteRows) fail(out *figures, snapshot []byte, w map[string]string) error {
	var place [3]int64
	for i, name := range []string{"start_index", "end_index", "onset_unix_ms"} {
		var err error
		if place[i], err = strconv.ParseInt(w[name], 10, 64); err != nil {
			return fmt.Errorf("%s of %s: %s %q is no number", w["fault"], w["id"], name, w[name])
		}
	}
	first, end := int(place[0]), int(place[1])
	if first < s.quiet || end >= len(s.rows) {
		return fmt.Errorf("%s of %s: rows %d to %d are not behind the quiet", w["fault"], w["id"], first, end)
	}
	m := &detectors.Service{}
	if err := m.Restore(snapshot); err != nil {
		return fmt.Errorf("go on from the quiet: %w", err)
	}
	soonest := out.soonest[w["fault"]]
	if soonest == nil {
		soonest = slices.Repeat([]time.Duration{-1}, len(limits()))
		out.soonest[w["fault"]] = soonest
	}
	for k := max(s.quiet, first-before); k <= end; k++ {
		delay := s.at[k].Sub(time.UnixMilli(place[2]))
		for i, within := range s.observe(m, s.at[k], s.rows[k]) {
			if within && k >= first && (soonest[i] < 0 || delay < soonest[i]) {
				soonest[i] = delay
			}
		}
	}
	return nil
}

// observe reports for each limit whether the row is as rare as that.
func (s *siteRows) observe(m *detectors.Service, at time.Time, row []float64) (within []bool) {
	v := m.Observe(at, row)
	for _, limit := range limits() {
		within = append(within, v.HasScore && v.PerWeek*weeksAMonth < limit)
	}
	return within
}

// print writes a line a limit.
func (f *figures) print(w io.Writer, name string) error {
	for i, limit := range limits() {
		var delays []time.Duration
		var never []string
		for fault, by := range f.soonest {
			if by[i] >= 0 {
				delays = append(delays, by[i])
			} else {
				never = append(never, fault+" ("+f.faults[fault]["text"]+")")
			}
		}
		slices.Sort(delays)
		slices.Sort(never)
		_, err := fmt.Fprintf(w, "%s: set to %.2f a site and month: %d of %d faults, half within %s, nine in ten within %s; "+
			"%d alarms in %.0f site-days without a fault (%.2f a month); not found: %v\n", name, limit, len(delays), len(f.soonest),
			quantile(delays, 0.5), quantile(delays, 0.9), f.quiet[i], f.days, float64(f.quiet[i])/f.days*7*weeksAMonth, never)
		if err != nil {
			return fmt.Errorf("print the figures: %w", err)
		}
	}
	return nil
}

// quantile is the smallest of sorted delays that so many of them do not exceed, 0 of none.
func quantile(delays []time.Duration, share float64) time.Duration {
	if len(delays) == 0 {
		return 0
	}
	return delays[int(math.Ceil(share*float64(len(delays))))-1].Round(100 * time.Millisecond)
}

// readSeries reads a series of many columns. What is no number there is NaN.
func readSeries(path string) (at []time.Time, rows [][]float64, err error) {
	table, err := readLines(path)
	if err != nil {
		return nil, nil, err
	}
	if len(table[0]) < 3 {
		return nil, nil, fmt.Errorf("%s: columns %v, want unix_ms, one or more of values, and label", path, table[0])
	}
	for i, line := range table[1:] {
		ms, err := strconv.ParseInt(line[0], 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, row %d: unix_ms %q is no number", path, i, line[0])
		}
		row := make([]float64, len(line)-2) // the last is the label
		for k := range row {
			if row[k], err = strconv.ParseFloat(line[k+1], 64); err != nil {
				row[k] = math.NaN()
			}
		}
		at, rows = append(at, time.UnixMilli(ms)), append(rows, row)
	}
	return at, rows, nil
}

// readTable reads a table as maps by column.
func readTable(path string) (rows []map[string]string, err error) {
	table, err := readLines(path)
	if err != nil {
		return nil, err
	}
	for _, line := range table[1:] {
		row := map[string]string{}
		for i, name := range table[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// readLines reads a CSV file with its heading; a .gz is unpacked.
func readLines(path string) ([][]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the data set: %w", err)
	}
	var r io.Reader = bytes.NewReader(raw)
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	lines, err := csv.NewReader(r).ReadAll()
	if err == nil && len(lines) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return lines, nil
}
