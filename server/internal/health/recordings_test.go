package health

import (
	"compress/gzip"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// table reads the rows of a file of the recordings as maps by column; a .gz is unpacked.
func table(t *testing.T, path string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(filepath.Join("../../../deploy/recordings", path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	if filepath.Ext(path) == ".gz" {
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		r = csv.NewReader(z)
	}
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// trouble is a fault of the recordings as two series show it, from its first row to its last one.
type trouble struct {
	name, text, site string
	start, onset     time.Time // of the first row; of the fault
	first, last      int
	errors, latency  []float64
}

// troubles are the faults of a set that users feel as errors or as latency of a site.
func troubles(t *testing.T, set, latency string) (out []trouble) {
	t.Helper()
	windows := map[string]map[string]string{}
	for _, w := range table(t, set+"/windows.csv") {
		windows[w["id"]+" "+w["fault"]] = w
	}
	for _, fault := range table(t, set+"/faults.csv") {
		shown := map[string]string{"errors": "edge-errors", "slow": latency}[fault["kind"]]
		recording, _, _ := strings.Cut(fault["fault"], "-")
		w := windows[recording+"-"+shown+"-"+fault["site"]+" "+fault["fault"]]
		if w == nil {
			continue
		}
		x := trouble{
			name: fault["fault"], text: fault["text"], site: fault["site"], onset: time.UnixMilli(int64(number(t, w["onset_unix_ms"]))).UTC(),
			first: int(number(t, w["start_index"])), last: int(number(t, w["end_index"])),
		}
		for id, to := range map[string]*[]float64{"edge-errors": &x.errors, latency: &x.latency} {
			rows := table(t, set+"/series/"+recording+"-"+id+"-"+x.site+".csv.gz")
			x.start = time.UnixMilli(int64(number(t, rows[0]["unix_ms"]))).UTC()
			for _, row := range rows {
				*to = append(*to, number(t, row["value"]))
			}
		}
		out = append(out, x)
	}
	return out
}

// accused is how long after the onset statistics accuse the site, if the trouble goes on for half an hour: its rows come again and
// again. 0: they do not.
func (x trouble) accused(t *testing.T, floor float64) time.Duration {
	t.Helper()
	tr := New("r1", testTopology([]string{"ams", "fra", "waw"}, nil, []string{"checkout"}))
	s := &tr.subjects[tr.sIndex[key{x.site, "checkout"}]].statistics
	errors, latency := detectors.Auto{Direction: detectors.Above, AbsoluteFloor: 0.02}, detectors.Auto{Direction: detectors.Above, AbsoluteFloor: floor}
	states := map[detectors.State]core.DetectorState{
		detectors.StateWarming: core.DetectorWarming, detectors.StateNormal: core.DetectorNormal, detectors.StateAnomalous: core.DetectorAnomalous,
	}
	for k := range x.first + 180 {
		at, row := x.start.Add(time.Duration(k)*10*time.Second), k
		if k >= x.first {
			row = x.first + (k-x.first)%(x.last-x.first+1)
		}
		v := errors.Observe(detectors.Point{At: at, Value: x.errors[row]})
		tr.Signal(point("errors", x.site, at, 10*time.Second, states[v.State], v.Tail))
		v = latency.Observe(detectors.Point{At: at, Value: x.latency[row]})
		tr.Signal(point("latency", x.site, at, 10*time.Second, states[v.State], v.Tail))
		tr.Judge(at, nil)
		switch {
		case s.accuses() && k < x.first:
			t.Errorf("%s (%s) is accused of by %s, before it began", x.name, x.text, at)
			return 0
		case s.accuses():
			return at.Sub(x.onset)
		}
	}
	return 0
}

// Whoever is slow or fails for longer than a minute is accused in the end, and nobody before that. How soon is for people to read.
func TestStatisticsAccuseFailingSites(t *testing.T) {
	f := func(latency string, floor float64, want int) {
		t.Helper()
		var delays []time.Duration
		faults := 0
		for _, set := range []string{"dev", "test"} {
			for _, x := range troubles(t, set, latency) {
				faults++
				delay := x.accused(t, floor)
				if delay > 0 {
					delays = append(delays, delay)
				}
				t.Logf("%-8s %-18s accused after %s", x.name, x.text, delay.Round(time.Second))
			}
		}
		slices.Sort(delays)
		t.Logf("errors and %s: %d of %d accused, %v", latency, len(delays), faults, delays)
		if len(delays) < want {
			t.Errorf("errors and %s: %d of %d accused, want %d", latency, len(delays), faults, want)
		}
	}
	f("edge-median", 0.02, 24)
	f("edge-latency", 0.2, 13) // the 99th percentile of a busy machine, which is not odd for long
}
