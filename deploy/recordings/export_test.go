package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kept is a journal of n steps from the unix second 1000 on, with values by step and the lab's lines about faults.
func kept(t *testing.T, n int, values func(i int) map[string]float64, faults string) journal {
	t.Helper()
	j := journal(filepath.Join(t.TempDir(), "journal"))
	if err := j.begin(meta{Name: "r1", BeganMS: 1000_000, Prefix: 50 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := j.tick(tick{AtMS: 1000_000 + int64(i)*10_000, Values: values(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(j.in("faults.jsonl"), []byte(faults), 0o600); err != nil {
		t.Fatal(err)
	}
	return j
}

func table(t *testing.T, path string) []map[string]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(raw))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// of are the rows of one series.
func of(rows []map[string]string, id string) []map[string]string {
	return slices.DeleteFunc(slices.Clone(rows), func(r map[string]string) bool { return r["id"] != id })
}

func unzipped(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const errorsAtFra = `{"id":1,"event":"start","at_unix_ns":1061200000000,"done_unix_ns":1061210000000,"text":"fra errors 30","site":"fra","kind":"errors"}
{"id":1,"event":"end","at_unix_ns":1083000000000,"done_unix_ns":1083100000000,"text":"fra errors 30","site":"fra","kind":"errors"}
`

// TestLabelsAreWhereTheFaultShows: from the first sample after its onset to the last whose window reaches back to it, in
// the series of its site and its kind; what else is about the site is listed as touched; what is missing is no row.
func TestLabelsAreWhereTheFaultShows(t *testing.T) {
	j := kept(t, 12, func(i int) map[string]float64 {
		v := map[string]float64{"edge-errors-fra": float64(i) / 8, "edge-errors-ams": 0, "edge-mean-fra": 0.002}
		if i == 2 {
			delete(v, "edge-errors-fra")
		}
		return v
	}, errorsAtFra)
	out := t.TempDir()
	if err := export(out, []string{string(j)}); err != nil {
		t.Fatal(err)
	}
	want := `unix_ms,value,label
1000000,0,0
1010000,0.125,0
1030000,0.375,0
1040000,0.5,0
1050000,0.625,0
1060000,0.75,0
1070000,0.875,1
1080000,1,1
1090000,1.125,1
1100000,1.25,0
1110000,1.375,0
`
	if got := unzipped(t, filepath.Join(out, "series", "r1-edge-errors-fra.csv.gz")); got != want {
		t.Errorf("got\n%s", got)
	}
	windows := table(t, filepath.Join(out, "windows.csv"))
	if len(windows) != 1 {
		t.Fatalf("%v", windows)
	}
	for name, want := range map[string]string{
		"id": "r1-edge-errors-fra", "start_index": "6", "end_index": "8", "onset_index": "6", "start_unix_ms": "1070000",
		"end_unix_ms": "1090000", "onset_unix_ms": "1061200", "starts_in_test": "1", "fault": "r1-01",
	} {
		if windows[0][name] != want {
			t.Errorf("%s of the window is %s, want %s", name, windows[0][name], want)
		}
	}
	manifest := of(table(t, filepath.Join(out, "manifest.csv")), "r1-edge-errors-fra")
	for name, want := range map[string]string{
		"source": "lab-edge", "kind": "uni", "interval_s": "10", "n_points": "11", "train_end_index": "4", "n_anomaly_windows": "1",
		"n_test_windows": "1", "n_test_anomaly_points": "3", "file": "series/r1-edge-errors-fra.csv.gz",
	} {
		if manifest[0][name] != want {
			t.Errorf("%s in the manifest is %s, want %s", name, manifest[0][name], want)
		}
	}
	touched := table(t, filepath.Join(out, "touched.csv"))
	if len(touched) != 1 || touched[0]["id"] != "r1-edge-mean-fra" || touched[0]["start_index"] != "7" {
		t.Errorf("touched: %v", touched)
	}
	faults := table(t, filepath.Join(out, "faults.csv"))
	if len(faults) != 1 || faults[0]["start_unix_ms"] != "1061200" || faults[0]["end_unix_ms"] != "1083100" || faults[0]["amount"] != "30" {
		t.Errorf("faults: %v", faults)
	}
}

// TestAnInterruptedRecordingIsUsable: a fault without an end lasts to the last sample, half a line is none.
func TestAnInterruptedRecordingIsUsable(t *testing.T) {
	first, _, _ := strings.Cut(errorsAtFra, "\n")
	j := kept(t, 9, func(int) map[string]float64 { return map[string]float64{"edge-errors-fra": 0.3} }, first+"\n{\"id\":2,\"ev")
	f, err := os.OpenFile(j.in("ticks.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"unix_ms":1090000,"val`)
	_ = f.Close()
	out := t.TempDir()
	if err := export(out, []string{string(j)}); err != nil {
		t.Fatal(err)
	}
	windows := table(t, filepath.Join(out, "windows.csv"))
	if len(windows) != 1 || windows[0]["start_index"] != "7" || windows[0]["end_index"] != "8" {
		t.Errorf("%v", windows)
	}
	if err := export(out, []string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Errorf("a folder without a journal: %v", err)
	}
}

// TestTheSeriesOfASiteStandSideBySide: in the order that columns.csv says; a row that lacks one is missing.
func TestTheSeriesOfASiteStandSideBySide(t *testing.T) {
	columns := siteColumns("fra")
	j := kept(t, 9, func(i int) map[string]float64 {
		v := map[string]float64{}
		for n, c := range columns {
			v[c] = float64(100*n + i)
		}
		if i == 3 {
			delete(v, "lag-exposure-fra-ams")
		}
		return v
	}, errorsAtFra)
	out := t.TempDir()
	if err := export(out, []string{string(j)}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(unzipped(t, filepath.Join(out, "series", "r1-site-fra.csv.gz")), "\n")
	if lines[0] != "unix_ms,m00,m01,m02,m03,m04,m05,m06,m07,m08,m09,m10,m11,label" || len(lines) != 10 ||
		lines[4] != "1040000,4,104,204,304,404,504,604,704,804,904,1004,1104,0" || !strings.HasSuffix(lines[8], ",1") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	named := of(table(t, filepath.Join(out, "columns.csv")), "r1-site-fra")
	for i, c := range columns {
		if named[i]["series"] != c || named[i]["column"] != fmt.Sprintf("m%02d", i) {
			t.Errorf("column %d: %v", i, named[i])
		}
	}
}

// TestWhereAFaultShows tells the table of labels: of all series those in which each fault should be seen.
func TestWhereAFaultShows(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		line := fmt.Sprintf(`{"id":1,"event":"start","text":%q,"site":%q,"kind":%q}`, text, strings.Fields(text)[0], strings.Fields(text)[1])
		faults, err := kept(t, 0, nil, line+"\n").faults()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range everyName() {
			if faults[0].seen(name) {
				got = append(got, name)
				if faults[0].touches(name) {
					t.Errorf("%s: %s is seen and touched", text, name)
				}
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	f("fra slow 200ms", "edge-latency-fra edge-median-fra edge-mean-fra probe-duration-fra-fra probe-duration-ams-fra probe-duration-waw-fra")
	f("fra slow 1.5s", "edge-latency-fra edge-median-fra edge-mean-fra probe-state-fra-fra probe-state-ams-fra probe-state-waw-fra "+
		"probe-duration-fra-fra probe-duration-ams-fra probe-duration-waw-fra")
	f("fra errors 4", "edge-errors-fra")
	f("fra lag", "link-state-ams-fra link-state-waw-fra lag-exposure-ams-fra lag-exposure-waw-fra")
	f("fra lag 3", "link-state-ams-fra link-state-waw-fra lag-lower-ams-fra lag-lower-waw-fra lag-upper-ams-fra lag-upper-waw-fra "+
		"lag-exposure-ams-fra lag-exposure-waw-fra")
	f("fra link ams", "probe-state-fra-ams probe-state-ams-fra probe-duration-fra-ams probe-duration-ams-fra "+
		"link-state-fra-ams link-state-ams-fra lag-lower-fra-ams lag-lower-ams-fra lag-exposure-fra-ams lag-exposure-ams-fra")
	f("fra link ams --one-way", "probe-state-fra-ams probe-duration-fra-ams link-state-ams-fra lag-lower-ams-fra lag-exposure-ams-fra")
	f("fra kill-service", "edge-errors-fra probe-state-fra-fra probe-state-ams-fra probe-state-waw-fra")
	f("fra kill", "edge-errors-fra probe-state-ams-fra probe-state-waw-fra link-state-fra-ams link-state-fra-waw link-state-ams-fra "+
		"link-state-waw-fra lag-lower-fra-ams lag-lower-fra-waw lag-exposure-fra-ams lag-exposure-fra-waw")
	f("fra uplink", "link-state-ams-fra link-state-waw-fra")
	f("fra reload", "")
	f("fra restart", "")
}

// everyName are the names that a recording's series have.
func everyName() []string {
	var out []string
	for _, m := range metrics() {
		for _, a := range sites() {
			if m.source == sourceEdge || m.source == sourceHost {
				out = append(out, m.name+"-"+a)
				continue
			}
			for _, b := range sites() {
				if a != b || m.source == sourceProbe {
					out = append(out, m.name+"-"+a+"-"+b)
				}
			}
		}
	}
	return out
}

func TestTheEvaluatorsBufferIsThePeriod(t *testing.T) {
	f := func(value func(i int) float64, want int) {
		t.Helper()
		x := make([]float64, 1000)
		for i := range x {
			x[i] = value(i)
		}
		if got := vusWindow(x); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	f(func(i int) float64 { return math.Sin(2 * math.Pi * float64(i) / 40) }, 40)
	f(func(int) float64 { return 3 }, 125)
	f(func(i int) float64 { return float64(i) }, 125)
}
