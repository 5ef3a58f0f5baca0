package detect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// A watch that could never speak, because its values are too far apart, is refused.
func TestWatchesThatWouldNeverSpeak(t *testing.T) {
	limit := 1.0
	f := func(want string, w detect.Watch) {
		t.Helper()
		w.Name, w.About = "a", detect.AboutSite
		if w.Bad == "" {
			w.Query = "a"
		}
		got := ""
		if err := w.Validate(); err != nil {
			got = err.Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("every %v, cron %q: %s, want %s", w.Every, w.Cron, got, want)
		}
	}
	trend := func(every time.Duration, cron string, window time.Duration) detect.Watch {
		return detect.Watch{Model: detect.ModelTrend, Limit: &limit, Every: every, Cron: cron, Window: window}
	}
	f("", trend(30*time.Minute, "", 0))
	f("", trend(0, "*/30 * * * *", 0))
	f("", trend(24*time.Hour, "", 12*24*time.Hour))
	f("every: values 1h0m0s apart are fewer than the 12 in a window of 6h0m0s that a trend takes, and it would never speak; want them at most 30m0s apart",
		trend(time.Hour, "", 0))
	f("want them at most 8s apart", trend(10*time.Second, "", 100*time.Second))
	f("cron: values 1h0m0s apart", trend(0, "0 9-17 * * 1-5", 0))
	f("every: values 10m0s apart are fewer than the 12 in a window of 1h0m0s", trend(10*time.Minute, "", time.Hour))

	burn := func(cron string) detect.Watch {
		return detect.Watch{Model: detect.ModelBurnRate, Bad: "a", Total: "b", Cron: cron}
	}
	f("", burn("*/5 * * * *"))
	f("cron: 1h0m0s is longer than the short window 0 of 5m0s, which would never speak", burn("0 * * * *"))
}
