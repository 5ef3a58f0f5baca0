package detect_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// lived is one life of a watch of many series that learn from the past, and that is killed at its end. Meanwhile is done beside it.
func lived(t *testing.T, dir string, life time.Duration, marks *[]detect.Mark, meanwhile func(m *detect.Watchman, mark func([]detect.Mark))) (log string) {
	t.Helper()
	var mu sync.Mutex
	var buf bytes.Buffer
	q := ask(map[string]func(time.Time) []core.SeriesValue{"rate(x)": func(at time.Time) (out []core.SeriesValue) {
		for i := range 60 {
			out = append(out, core.SeriesValue{Labels: map[string]string{"target_site": "fra", "service": "checkout", "i": fmt.Sprint(i)}, Value: 100 + wobble(at, i)})
		}
		return out
	}})
	w := errorsWatch()
	man, err := detect.New(detect.Options{
		Watches: []detect.Watch{w}, Querier: q, Writer: q, Signals: q.signal, Dir: dir, Log: slog.New(slog.NewTextHandler(&buf, nil)),
		Marks: func(_, _ time.Time) []detect.Mark {
			mu.Lock()
			defer mu.Unlock()
			return *marks
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), life)
	defer cancel()
	var all sync.WaitGroup
	if meanwhile != nil {
		all.Go(func() {
			meanwhile(man, func(m []detect.Mark) {
				mu.Lock()
				defer mu.Unlock()
				*marks = m
			})
		})
	}
	if err := man.Run(ctx); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	return buf.String()
}

// An incident that is taken back is learned again: what is saved from before knows nothing of its time.
func TestATakenBackIncidentIsLearnedAgain(t *testing.T) {
	var dir string
	f := func(name, want string, second func(t *testing.T, marks *[]detect.Mark) string) {
		t.Run(name, func(t *testing.T) {
			dir = t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				marks := []detect.Mark{{
					Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra", Service: core.AllServices}, From: time.Now().Add(-30 * time.Minute),
					Until: time.Now().Add(-20 * time.Minute), Said: time.Now().Add(-10 * time.Minute),
				}}
				lived(t, dir, 11*time.Minute, &marks, nil)
				if log := lived(t, dir, time.Minute, &marks, nil); !strings.Contains(log, "goes on with") {
					t.Fatalf("nothing was saved: %s", log)
				}
				log := second(t, &marks)
				if _, after, found := strings.Cut(log, want); !found || strings.Contains(after, "it had learned") {
					t.Errorf("what was saved is used: %s", log)
				}
			})
		})
	}
	f("while the server runs", "is read again", func(t *testing.T, marks *[]detect.Mark) string {
		return lived(t, dir, time.Minute, marks, func(m *detect.Watchman, mark func([]detect.Mark)) {
			time.Sleep(31 * time.Second)
			gone := *marks
			mark(nil)
			m.Relearn(gone)
		})
	})
	f("while it is down", "or is none any more", func(t *testing.T, marks *[]detect.Mark) string {
		*marks = nil
		return lived(t, dir, time.Minute, marks, nil)
	})
}

// A pass in which the past is read again ends: the rest of it would be of other models, and was left out.
func TestAPassEndsWhenThePastIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var marks []detect.Mark
		lived(t, dir, 11*time.Minute, &marks, func(m *detect.Watchman, _ func([]detect.Mark)) {
			time.Sleep(7*time.Minute + 31*time.Second)
			m.Relearn([]detect.Mark{{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra", Service: core.AllServices}, From: time.Now().Add(-time.Hour), Until: time.Now().Add(-30 * time.Minute)}})
		})
		log := lived(t, dir, time.Minute, &marks, nil)
		if !strings.Contains(log, "series=60") {
			t.Errorf("not all series are saved: %s", log)
		}
	})
}
