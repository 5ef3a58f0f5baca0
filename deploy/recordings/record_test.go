package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestARecordingShowsItsFault is a recording of two minutes with a real lab: one fault, in the labels at its true time and
// to be seen in the values.
func TestARecordingShowsItsFault(t *testing.T) {
	folder, out := filepath.Join(t.TempDir(), "journal"), t.TempDir()
	p := plan{Prefix: 40 * time.Second, Faults: []planned{{48 * time.Second, []string{"fra", "errors", "60", "--for", "40s"}}}}
	for range 12 {
		p.Loads = append(p.Loads, 60)
	}
	m := meta{Name: "short", Prefix: p.Prefix, Lasts: 2 * time.Minute}
	exports := 0
	if err := record(t.Context(), journal(folder), m, p, func() error { exports++; return export(out, []string{folder}) }, t.Logf); err != nil {
		t.Fatal(err)
	}
	if exports != 3 {
		t.Errorf("%d exports, want one a minute and one at the end", exports)
	}

	windows := of(table(t, filepath.Join(out, "windows.csv")), "short-edge-errors-fra")
	faults := table(t, filepath.Join(out, "faults.csv"))
	if len(windows) != 1 || len(faults) != 1 || windows[0]["onset_unix_ms"] != faults[0]["start_unix_ms"] {
		t.Fatalf("windows %v, faults %v", windows, faults)
	}
	for _, id := range []string{"short-edge-errors-fra", "short-edge-errors-ams", "short-edge-mean-fra", "short-probe-state-ams-fra", "short-link-state-fra-ams", "short-lag-upper-fra-ams"} {
		if rows := of(table(t, filepath.Join(out, "manifest.csv")), id); len(rows) != 1 || rows[0]["n_points"] != "12" {
			t.Errorf("%s: %v", id, rows)
		}
	}
	onset, err := strconv.ParseInt(faults[0]["start_unix_ms"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	labelled, broken := 0, 0
	for line := range strings.Lines(unzipped(t, filepath.Join(out, "series", "short-edge-errors-fra.csv.gz"))) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		at, err := strconv.ParseInt(cells[0], 10, 64)
		if err != nil {
			continue // the head
		}
		share, err := strconv.ParseFloat(cells[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case cells[2] == "1":
			labelled++
			if at < onset {
				t.Errorf("a label %d ms before the fault", onset-at)
			}
			if share > 0.4 {
				broken++
			}
		case share > 0.2:
			t.Errorf("errors of %g at %d without a label; the fault began at %d", share, at, onset)
		}
	}
	if labelled < 4 || labelled > 6 || broken < 3 {
		t.Errorf("%d samples are labelled, %d of them show the fault", labelled, broken)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 3 {
		t.Errorf("the journal: %v, %v", left, err)
	}
}
