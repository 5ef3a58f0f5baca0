package detect_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// said is what a watchman says of its watches at times after its start, and its log.
func said(t *testing.T, w *world, watch detect.Watch, at ...time.Duration) (sentences []string, log string) {
	t.Helper()
	var text bytes.Buffer
	m, err := detect.New(detect.Options{
		Watches: []detect.Watch{watch}, Querier: w, Writer: w, Signals: w.signal, Log: slog.New(slog.NewTextHandler(&text, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, start := make(chan error, 1), time.Now()
	go func() { done <- m.Run(ctx) }()
	for _, d := range at {
		time.Sleep(time.Until(start.Add(d))) // on the bubble's clock
		sentence := ""
		for _, x := range m.Warming() {
			sentence += x.Sentence
		}
		sentences = append(sentences, sentence)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return sentences, text.String()
}

// A watch that had data and has none any more says so once, whatever series it had; one that never had any does not.
func TestAWatchWithoutDataSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if since := at.Sub(start); since > time.Hour && since < 80*time.Minute {
				return nil, nil
			}
			return []core.SeriesValue{value("fra", 1), value("ams", 1)}, nil
		}}
		watch := trafficWatch()
		watch.Service = ""
		got, log := said(t, w, watch, time.Hour+9*time.Minute+time.Second, time.Hour+10*time.Minute+time.Second, 81*time.Minute)
		if got[0] != "" || got[1] != "no data since 01:00:00 UTC" || got[2] != "" {
			t.Errorf("said %q", got)
		}
		for _, want := range []string{"watch has no data any more, all its series are unknown", "watch has data again"} {
			if strings.Count(log, want) != 1 {
				t.Errorf("want %q once in\n%s", want, log)
			}
		}
	})
	// While the server was down nobody asked: what it does not find at its start may come as late as always.
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if since := at.Sub(start); since > -12*time.Minute && since < 4*time.Minute {
				return nil, nil
			}
			return one(1), nil
		}}
		if got, log := said(t, w, trafficWatch(), 3*time.Minute, time.Hour); got[0] != "" || strings.Contains(log, "no data") {
			t.Errorf("said %q\n%s", got, log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if at.Sub(start) > -12*time.Minute {
				return nil, nil
			}
			return one(1), nil
		}}
		if got, log := said(t, w, trafficWatch(), 9*time.Minute, 12*time.Minute); got[0] != "" || got[1] != "no data since 23:48:00 UTC" {
			t.Errorf("said %q\n%s", got, log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return nil, nil }}
		if got, log := said(t, w, trafficWatch(), 2*time.Hour); got[0] != "" || strings.Contains(log, "no data") {
			t.Errorf("said %q\n%s", got, log)
		}
	})
}

// A question whose answer fails again and again is asked more seldom, says when it is asked again, and is asked as before once it is answered.
func TestAQuestionThatFailsIsAskedMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked []time.Duration
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if !time.Now().Equal(at) {
				return one(1), nil // of the past
			}
			asked = append(asked, at.Sub(start))
			if at.Sub(start) > 10*time.Second && at.Sub(start) < 10*time.Minute {
				return nil, errors.New("too many series")
			}
			return one(1), nil
		}}
		watch := trafficWatch()
		watch.Every = 10 * time.Second
		got, _ := said(t, w, watch, 5*time.Minute+time.Second, 12*time.Minute)
		if want := "unknown, the query failed: too many series; asked again at 00:05:30 UTC"; got[0] != want || got[1] != "" {
			t.Errorf("said %q, want %q", got, want)
		}
		var gaps []string
		for i := 1; i < len(asked); i++ {
			gaps = append(gaps, (asked[i] - asked[i-1]).String())
		}
		const want = "10s 10s 10s 10s 10s 10s 10s 20s 40s 40s 40s 40s 40s 40s 40s 40s 40s 40s 40s 40s 40s 10s 10s"
		if text := strings.Join(gaps, " "); !strings.HasPrefix(text, want) {
			t.Errorf("asked after %s, want %s", text, want)
		}
		unknown := 0
		for _, s := range w.signals {
			if since := s.At.Sub(start); since >= time.Minute && since < 10*time.Minute && s.State == core.DetectorUnknown {
				unknown++
			}
		}
		if unknown != 54 {
			t.Errorf("%d times unknown meanwhile, want one at each tick", unknown)
		}
	})
}
