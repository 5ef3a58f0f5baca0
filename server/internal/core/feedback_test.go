package core_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestPrecisions(t *testing.T) {
	word := func(watch, about, by string, n int, label core.Said) core.Feedback {
		return core.Feedback{Watch: watch, About: about, By: by, N: n, Label: label}
	}
	got := core.Precisions([]core.Feedback{
		word("latency", "a", "jo", 2, core.SaidFalse), word("latency", "a", "jo", 1, core.SaidTrue), // the last word counts
		word("latency", "b", "jo", 1, core.SaidTrue), word("latency", "b", "ann", 1, core.SaidTrue), // one alarm, whoever says so
		word("latency", "c", "jo", 1, core.SaidTrue), word("latency", "c", "ann", 1, core.SaidFalse), // they do not agree
		word("latency", "d", "jo", 1, core.SaidTrue), word("latency", "d", "ann", 1, core.SaidUnsure),
		word("gone", "e", "jo", 1, core.SaidUnsure),
		word("", "ep_1", "jo", 1, core.SaidTrue),
	}, []string{"latency", "errors"})
	want := []core.Precision{
		{True: 1, Labels: 1},
		{Watch: "errors"},
		{Watch: "gone", Unsure: 1, Labels: 1},
		{Watch: "latency", True: 2, False: 1, Unsure: 1, Labels: 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheckOfFeedback(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	alarm := core.Feedback{Watch: "latency", Series: "latency of fra", Onset: now, Label: core.SaidTrue}
	episode := core.Feedback{EpisodeID: "ep_1", Label: core.SaidFalse, Note: strings.Repeat("x", core.FeedbackNote)}
	f := func(w core.Feedback, change func(*core.Feedback), want string) {
		t.Helper()
		change(&w)
		switch err := w.Check(now); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%+v: %v, want %q", w, err, want)
		}
	}
	f(alarm, func(*core.Feedback) {}, "")
	f(episode, func(*core.Feedback) {}, "")
	f(alarm, func(w *core.Feedback) { w.Label = "yes" }, `no label "yes"`)
	f(alarm, func(w *core.Feedback) { w.Label = "" }, `no label ""`)
	f(episode, func(w *core.Feedback) { w.Note += "x" }, "longer than 500 bytes")
	f(alarm, func(w *core.Feedback) { w.EpisodeID = "ep_1" }, "either an episode or an alarm")
	f(core.Feedback{Label: core.SaidTrue}, func(*core.Feedback) {}, "either an episode or an alarm")
	f(alarm, func(w *core.Feedback) { w.Series = "" }, "by watch, series and onset")
	f(alarm, func(w *core.Feedback) { w.Onset = now.Add(time.Hour) }, "not begun yet")
}
