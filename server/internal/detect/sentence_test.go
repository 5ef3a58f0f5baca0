package detect_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// TestSeriesAreNamed tells several series about one subject apart by the labels in which they differ.
func TestSeriesAreNamed(t *testing.T) {
	f := func(about detect.About, answer []core.SeriesValue, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return answer, nil }}
			run(t, w, 15*time.Second, detect.Watch{
				Name: "links-down", Query: "x", About: about, Every: 10 * time.Second, Model: detect.ModelThreshold, Threshold: new(0.5),
				Direction: detect.DirectionAbove, Class: core.ClassCause,
			})
			var got []string
			for _, s := range w.signals {
				got = append(got, s.Series)
				if !strings.HasPrefix(s.Sentence, s.Series+": 1 is above the limit 0.5") {
					t.Errorf("%s: the sentence is %q", s.Series, s.Sentence)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	series := func(labels ...string) core.SeriesValue {
		out := core.SeriesValue{Labels: map[string]string{}, Value: 1}
		for _, l := range labels {
			name, value, _ := strings.Cut(l, "=")
			out.Labels[name] = value
		}
		return out
	}
	f(detect.AboutLinkFrom, []core.SeriesValue{
		series("link=orders:fra>ams", "engine=nats"), series("link=orders:fra>lon", "engine=nats"), series("link=orders:ams>fra", "engine=nats"),
	}, `links-down of ams`, `links-down{link="orders:fra>ams"} of fra`, `links-down{link="orders:fra>lon"} of fra`)
	f(detect.AboutSite, []core.SeriesValue{
		series("site=fra", "host_name=a", "device=sda"), series("site=fra", "host_name=b", "device=sda"), series("site=fra", "host_name=b"),
		series("site=ams", "host_name=c"),
	}, `links-down of ams`, `links-down{device="sda",host_name="a"} of fra`, `links-down{device="sda",host_name="b"} of fra`,
		`links-down{host_name="b"} of fra`)
	f(detect.AboutTargetSite, []core.SeriesValue{
		series("target_site=fra", "service=checkout"), series("target_site=fra", "service=cart"), series("target_site=fra", "service=cart", "site=ams"),
	}, `links-down of cart at fra`, `links-down of checkout at fra`, `links-down{site="ams"} of cart at fra`)
}

// While an alarm goes on it is said since when the series is back, and anew when it has gone once more.
func TestASeriesThatComesBackSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: levels(start, 100, map[time.Duration]float64{
			time.Hour: 300, 65 * time.Minute: 100, 70 * time.Minute: 300, 74 * time.Minute: 100,
		})}
		watch := trafficWatch()
		watch.Model = detect.ModelAuto
		signals := watched(t, w, 80*time.Minute, watch)
		clock := func(d time.Duration) string { return start.Add(d).UTC().Format("15:04:05") + " UTC" }
		stateAt(t, signals, 63*time.Minute, core.DetectorAnomalous, ", since "+clock(time.Hour))
		stateAt(t, signals, 68*time.Minute, core.DetectorAnomalous, ", back since "+clock(65*time.Minute)+", odd since "+clock(time.Hour))
		stateAt(t, signals, 71*time.Minute, core.DetectorAnomalous, ", since "+clock(time.Hour))
		stateAt(t, signals, 75*time.Minute, core.DetectorAnomalous, ", back since "+clock(74*time.Minute)+", odd since "+clock(time.Hour))
	})
}
