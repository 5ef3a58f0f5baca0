package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Of a watch of which several series are odd the evidence is that of the oddest, and names the others.
func TestEachOddSeriesOfAWatchIsNamed(t *testing.T) {
	f := func(odd int, want ...string) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		for i := range 9 {
			w := point("disk", "fra", epoch, 10*time.Second, core.DetectorNormal, 1)
			w.Class = core.ClassCause
			w.Labels = map[string]string{"host": fmt.Sprint(i)}
			w.Series = fmt.Sprintf("disk %d", i)
			w.Sentence = w.Series + " is full"
			if i < odd {
				w.State, w.Score = core.DetectorAnomalous, 1-1/float64(i+2)
			}
			tr.Signal(w)
		}
		a := find(t, tr.Judge(epoch, nil), "fra")
		if odd == 0 {
			if len(a.Evidence) != 0 {
				t.Errorf("%+v", a.Evidence)
			}
			return
		}
		if len(a.Evidence) != 1 || a.Evidence[0].Series != fmt.Sprintf("disk %d", odd-1) || !slices.Equal(a.Evidence[0].Others, want) {
			t.Fatalf("%d are odd: %+v, want the others %q", odd, a.Evidence, want)
		}
		sentence := fmt.Sprintf("disk %d is full", odd-1)
		if len(want) > 0 {
			sentence += "; odd as well: " + strings.Join(want, ", ")
		}
		if a.Evidence[0].Sentence != sentence {
			t.Errorf("%q, want %q", a.Evidence[0].Sentence, sentence)
		}
	}
	f(0)
	f(1)
	f(2, "disk 0")
	f(3, "disk 1", "disk 0")
	f(4, "disk 2", "disk 1", "disk 0")
	f(5, "disk 3", "disk 2", "disk 1", "disk 0")
	f(9, "disk 7", "disk 6", "disk 5", "5 more")
}

// An alarm that was on before the server started keeps its onset; one that began later has that at which it was first told.
func TestAnAlarmGoesOnAfterARestart(t *testing.T) {
	f := func(since, want time.Duration) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		tr.Judge(epoch, nil) // the start
		w := point("disk", "fra", epoch.Add(time.Minute), 10*time.Second, core.DetectorAnomalous, 1)
		w.Class, w.Series, w.Since = core.ClassCause, "disk", epoch.Add(since)
		tr.Signal(w)
		w.At = w.At.Add(10 * time.Second)
		tr.Signal(w)
		a := find(t, tr.Judge(w.At, nil), "fra")
		if len(a.Evidence) != 1 || !a.Evidence[0].Onset.Equal(epoch.Add(want)) {
			t.Errorf("odd since %s: %+v, want the onset %s", since, a.Evidence, want)
		}
	}
	f(-time.Hour, -time.Hour)
	f(50*time.Second, time.Minute)
}
