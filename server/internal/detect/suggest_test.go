package detect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// Candidates ask the same question, each is a watch that is right, none is there twice, and a setting of the watch that the model has is kept.
func TestCandidatesFitTheQuestion(t *testing.T) {
	f := func(w detect.Watch, want string) {
		t.Helper()
		var got []string
		seen := map[string]bool{}
		for i, c := range w.Candidates() {
			if err := c.Watch.Validate(); err != nil {
				t.Errorf("%q: %v", c.Settings, err)
			}
			if c.Watch.Query != w.Query || c.Watch.Name != w.Name || c.Watch.Every != w.Every || (i == 0) != (c.Settings == nil) {
				t.Errorf("candidate %d %q asks %+v", i, c.Settings, c.Watch)
			}
			text := strings.Join(c.Settings, ", ")
			if seen[text] {
				t.Errorf("%q is there twice", text)
			}
			if got = append(got, text); strings.Contains(text, "auto") && c.Watch.FalseAlarms != w.FalseAlarms {
				t.Errorf("%q: %g false alarms", text, c.Watch.FalseAlarms)
			}
			seen[text] = true
		}
		if all := strings.Join(got, "; "); all != want {
			t.Errorf("candidates %s\nwant %s", all, want)
		}
	}
	w := detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: time.Minute, FalseAlarms: 0.25, Floor: detect.Floor{Absolute: 3, Relative: 0.2}}
	const scales = "model: %; model: %, threshold: 7.5; model: %, threshold: 10; model: %, threshold: 15"
	of := func(m string) string { return strings.ReplaceAll(scales, "%", m) }
	f(w, "; model: auto, floor: {relative: 0.5, absolute: 3}; "+of("robust-z")+"; "+of("seasonal")+"; "+of("local-fit")+"; model: cusum; model: cusum, floor: {relative: 0.5, absolute: 3}")
	limit := 5.0
	f(detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: time.Minute, Model: detect.ModelThreshold, Threshold: &limit},
		"; model: auto; model: auto, floor: {relative: 0.1}; model: auto, floor: {relative: 0.2}; model: auto, floor: {relative: 0.5}; "+of("robust-z")+"; "+of("seasonal")+"; "+of("local-fit")+
			"; model: cusum; model: cusum, floor: {relative: 0.1}; model: cusum, floor: {relative: 0.2}; model: cusum, floor: {relative: 0.5}")
	f(detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: time.Minute, Model: detect.ModelPeers, Threshold: &limit},
		"; model: peers; model: peers, threshold: 7.5; model: peers, threshold: 10; model: peers, threshold: 15")
	f(detect.Watch{Name: "w", Metrics: map[string]string{"a": "a", "b": "b"}, About: detect.AboutTargetSite, Every: time.Minute, Model: detect.ModelService}, "")
	f(detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: time.Minute, Model: detect.ModelAbsence}, "")
}

// The budget comes first, then what is met, then how soon; and the watch as it is stays where nothing is better beyond doubt.
func TestBestGoesByTheBudget(t *testing.T) {
	judged := func(alarms int, weeks float64, after ...time.Duration) detect.Judged {
		out := detect.Judged{Weeks: weeks, Alarms: make([]detect.JudgedAlarm, alarms)}
		for _, d := range after {
			out.Incidents = append(out.Incidents, detect.JudgedTime{Met: d >= 0, After: d})
		}
		return out
	}
	const missed = -1
	f := func(best int, why string, all ...detect.Judged) {
		t.Helper()
		got, text := detect.Best(all, 1)
		if got != best || !strings.Contains(text, why) {
			t.Errorf("best is %d, %s; want %d, %s", got, text, best, why)
		}
	}
	f(1, "0.5 false alarms a series and week where 1 may be; 2 of 3 incidents met, half of them within 10s", judged(40, 20, 5, 5, missed), judged(10, 20, 10*time.Second, 12*time.Second, missed), judged(5, 20, missed, missed, missed))
	f(0, "nothing is better beyond doubt", judged(21, 20, 5, 5, 5), judged(0, 20, 5, 5, 5))
	f(0, "nothing is better beyond doubt", judged(10, 20, time.Minute, time.Minute, missed), judged(0, 20, 5, 5, missed))
	f(1, "3 of 3", judged(10, 20, time.Minute, time.Minute, missed), judged(12, 20, 5, 5, 5))
	f(0, "incidents on record are 2", judged(10, 20, time.Minute, missed), judged(12, 20, 5, 5))
	f(2, "5 false alarms", judged(400, 20), judged(200, 20), judged(100, 20))
	f(1, "hardly known: 0.5 false alarms were to be expected", judged(4, .5, 1, 1, 1), judged(0, .5, 1, 1, 1))
	f(0, "nothing was judged", judged(0, 0), judged(0, 20))
	f(0, "30 false alarms a series and week where 1 may be; 1 of 1", judged(600, 20, 5), judged(0, 20, missed))
}
