package detect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// While the server is down nothing is stored, and nobody is absent for it: what was there before is unknown until it is back, for as long as patience
// is from the start on. What was known to be gone stays so.
func TestAbsenceAfterADowntime(t *testing.T) {
	// f runs a server for two minutes and a bit, and again after a downtime, after which fra is back after a while, or never. Ams has not come since the first minute.
	f := func(down, back time.Duration, want, sentence string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			q := ask(nil)
			q.at = func(at time.Time) ([]core.SeriesValue, error) {
				var out []core.SeriesValue
				switch d := at.Sub(start.Add(125*time.Second + down)); {
				case d < -down:
					out = append(out, value("fra", 1))
				case d > back:
					out = append(out, value("fra", 1))
				}
				if !at.After(start.Add(time.Minute)) {
					out = append(out, value("ams", 1))
				}
				return out, nil
			}
			watch := rowWatch(detect.ModelAbsence)
			watchOver(t, q, 125*time.Second, watch)
			if got := told(q, "fra"); got != "normal*12" {
				t.Fatalf("before the downtime: fra %s", got)
			}
			time.Sleep(down)
			q.signals = nil
			watchOver(t, q, 2*time.Minute, watch)
			if got := told(q, "fra"); got != want {
				t.Errorf("down for %s, back after %s: fra %s, want %s", down, back, got, want)
			}
			if got := told(q, "ams"); got != "anomalous*12" {
				t.Errorf("down for %s, back after %s: ams %s", down, back, got)
			}
			for _, s := range q.signals {
				if s.Subject.Site == "fra" && s.State != core.DetectorNormal {
					if s.Sentence != sentence {
						t.Errorf("down for %s, back after %s: %s", down, back, s.Sentence)
					}
					break
				}
			}
		})
	}
	const never = time.Hour
	f(10*time.Second, 4*time.Second, "normal*12", "")
	f(10*time.Minute, 4*time.Second, "normal*12", "")
	f(10*time.Minute, 35*time.Second, "unknown*4 normal*8",
		"w of fra: unknown, no data since 00:02:00 UTC, and nobody was there to take any until 00:12:00 UTC; absent if none comes until 00:12:50 UTC")
	f(10*time.Minute, never, "unknown*5 anomalous*7",
		"w of fra: unknown, no data since 00:02:00 UTC, and nobody was there to take any until 00:12:00 UTC; absent if none comes until 00:12:50 UTC")
	f(30*time.Second, never, "unknown*5 anomalous*7",
		"w of fra: unknown, no data since 00:02:00 UTC, and nobody was there to take any until 00:02:30 UTC; absent if none comes until 00:03:20 UTC")
}

// away is a store that takes and answers nothing for a time.
type away struct {
	*questions
	from, until time.Time
}

func (a away) there() error {
	if now := time.Now(); now.After(a.from) && now.Before(a.until) {
		return errors.New("away")
	}
	return nil
}

func (a away) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if err := a.there(); err != nil {
		return nil, err
	}
	return a.questions.Query(ctx, expr, at, step)
}

func (a away) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	if err := a.there(); err != nil {
		return nil, err
	}
	return a.questions.QueryRange(ctx, expr, from, to, step)
}

func (a away) Append(ctx context.Context, samples []core.Sample) error {
	if err := a.there(); err != nil {
		return err
	}
	return a.questions.Append(ctx, samples)
}

// A store elsewhere that was away has nothing of that time, or of some agents what their queues held: neither makes anybody absent.
func TestAbsenceAfterAStoreWasAway(t *testing.T) {
	f := func(queued bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			q := ask(nil)
			s := away{q, start.Add(65 * time.Second), start.Add(6 * time.Minute)}
			q.at = func(at time.Time) ([]core.SeriesValue, error) {
				was := at.After(s.from) && at.Before(s.until)
				var out []core.SeriesValue
				if !was || queued {
					out = append(out, value("ams", 1))
				}
				if late := s.until.Add(25 * time.Second); at.Before(s.from) || !at.Before(late) { // a slow one to come back
					out = append(out, value("fra", 1))
				}
				return out, nil
			}
			runFor(t, 8*time.Minute+5*time.Second, detect.Options{
				Watches: []detect.Watch{rowWatch(detect.ModelAbsence)}, Querier: s, Writer: s, Signals: q.signal,
			})
			if got := told(q, "fra"); got != want {
				t.Errorf("queued %t: fra %s, want %s", queued, got, want)
			}
			if got := told(q, "ams"); strings.Contains(got, "anomalous") {
				t.Errorf("queued %t: ams %s", queued, got)
			}
		})
	}
	f(false, "normal*6 unknown*32 normal*10")
	f(true, "normal*6 unknown*32 normal*10")
}
