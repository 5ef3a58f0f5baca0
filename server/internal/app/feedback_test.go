package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

type askerFunc func(expr string, at time.Time) ([]core.SeriesValue, error)

func (f askerFunc) Query(_ context.Context, expr string, at time.Time, _ time.Duration) ([]core.SeriesValue, error) {
	return f(expr, at)
}

func nothingSeen() core.Observation { return core.Observation{} }

func TestWhatIsSaidIsCounted(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	o := newOpinions(l, nil, nothingSeen, []config.Watch{{Name: "latency"}, {Name: "errors"}}, slog.New(slog.DiscardHandler))
	registry := prometheus.NewRegistry()
	registry.MustRegister(newOpinionMetrics(o.Precision))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.follow(ctx)
	}()
	defer func() {
		stop()
		<-done
	}()
	const zero = `
		# HELP evenkeel_watch_labels Alarms of a watch of the last 90 days that people labelled, by whether they were right.
		# TYPE evenkeel_watch_labels gauge
		evenkeel_watch_labels{label="false",watch="errors"} 0
		evenkeel_watch_labels{label="true",watch="errors"} 0
		evenkeel_watch_labels{label="unsure",watch="errors"} 0
		evenkeel_watch_labels{label="false",watch="latency"} %d
		evenkeel_watch_labels{label="true",watch="latency"} %d
		evenkeel_watch_labels{label="unsure",watch="latency"} 0
	`
	metrics := func(no, yes int) error {
		return testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(zero, no, yes)), "evenkeel_watch_labels")
	}
	if err := metrics(0, 0); err != nil { // from the start
		t.Error(err)
	}
	say := func(about string, label core.Said) {
		t.Helper()
		if _, _, err := o.Say(t.Context(), core.Feedback{About: about, Watch: "latency", Label: label, By: "admin jo", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	say("alm_a", core.SaidTrue)
	say("alm_b", core.SaidTrue)
	say("alm_c", core.SaidTrue)
	say("alm_c", core.SaidFalse)
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for metrics(1, 2) != nil {
		select {
		case <-limit.C:
			t.Fatal(metrics(1, 2))
		case <-time.After(10 * time.Millisecond):
		}
	}
	for _, p := range o.Precision() {
		if p.Watch != "latency" {
			continue
		}
		if p.Labels != 3 || p.Precision == nil || *p.Precision != 2.0/3 || *p.Lower < 0.2 || *p.Upper > 0.95 || *p.Lower >= *p.Upper {
			t.Errorf("the precision is %+v", p)
		}
	}
}

func TestAlarmsOfLate(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	var seen core.Observation
	o := newOpinions(nil, nil, func() core.Observation { return seen }, nil, nil)
	f := func(want string, series ...string) {
		t.Helper()
		seen = core.Observation{}
		for i, s := range series {
			onset := at.Add(time.Duration(i) * time.Second)
			odd := core.Evidence{Signal: core.SignalAnomaly, Source: "latency", Series: s, Onset: onset, Last: onset}
			seen.Assessments = append(seen.Assessments, core.Assessment{Odd: []core.Evidence{odd}})
		}
		var got []string
		for _, a := range o.Alarms() {
			got = append(got, fmt.Sprint(a.Series, " ", a.Over))
		}
		if text := strings.Join(got[:min(2, len(got))], ", "); text != want || len(got) > alarmsMost {
			t.Errorf("%d alarms, the first are %s; want %s", len(got), text, want)
		}
	}
	f("")
	f("b false, a false", "a", "b") // what is seen now can be spoken of at once
	f("a false, b true", "a")       // what is on comes first
	var many []string
	for i := range 2 * alarmsMost {
		many = append(many, fmt.Sprint(i))
	}
	f("999 false, 998 false", many...)
	seen = core.Observation{}
	if o.see(nil, at.Add(25*time.Hour)); len(o.Alarms()) != 0 {
		t.Errorf("%d alarms are left after a day", len(o.Alarms()))
	}
}

// Whether there was an alarm of before the start, only the store knows.
func TestRaised(t *testing.T) {
	onset := time.Now().Add(-3 * time.Hour)
	var asked string
	var when time.Time
	var answer []core.SeriesValue
	var broken error
	o := newOpinions(nil, askerFunc(func(expr string, at time.Time) ([]core.SeriesValue, error) {
		asked, when = expr, at
		return answer, broken
	}), nothingSeen, []config.Watch{{Name: "latency", Every: config.Duration(10 * time.Second)}, {Name: "nightly", Cron: "0 3 * * *"}}, nil)
	if raised, err := o.Raised(t.Context(), "latency", onset); raised || err != nil {
		t.Errorf("without an answer: %v, %v", raised, err)
	}
	if !strings.Contains(asked, `{detector="latency"}[120s]) == 3`) || !when.Equal(onset.Add(time.Minute)) {
		t.Errorf("asked %s at %s", asked, when.Sub(onset))
	}
	answer = []core.SeriesValue{{Value: 2}}
	if raised, err := o.Raised(t.Context(), "nightly", onset); !raised || err != nil || !strings.Contains(asked, "[7200s]") {
		t.Errorf("%v, %v, asked %s", raised, err, asked)
	}
	broken = errors.New("x")
	if _, err := o.Raised(t.Context(), "latency", onset); core.Code(err) != core.CodeUnavailable {
		t.Error(err)
	}
}
