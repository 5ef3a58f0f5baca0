package health

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A share of errors is a coin: in a site with few users it shows three seconds with hardly any, and the site is not well for that. When the
// errors end it is soon.
func TestErrorsOfFewUsersDoNotFlap(t *testing.T) {
	f := func(perSecond int, share float64) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		r := rand.New(rand.NewPCG(7, 11))
		var good, bad float64
		tells := func(at time.Time, class string, value float64) {
			tr.Fact(core.Fact{
				Kind: core.FactEdgeRequests, Site: "director", TargetSite: "fra", Service: "checkout", Reason: class, Value: value,
				AgentAt: at, ReceivedAt: at, Interval: 500 * time.Millisecond, ClockKnown: true,
			}, at)
		}
		var ended, began int
		was := false
		run := func(from, until int, share float64) {
			for n := from; n < until; n++ {
				at := half(n)
				for range perSecond / 2 {
					if r.Float64() < share {
						bad++
					} else {
						good++
					}
				}
				tells(at, "2xx", good)
				tells(at, "5xx", bad)
				for _, v := range []string{"ams", "lon", "fra"} { // the site is alive
					tr.Fact(core.Fact{
						Kind: core.FactProbe, Site: v, TargetSite: "fra", Service: "checkout", State: uint8(core.ProbeUp), AgentAt: at, ReceivedAt: at,
						Interval: time.Second, ClockKnown: true, Path: "user",
					}, at)
				}
				a := find(t, tr.Judge(at, nil), "fra")
				is := a.Has(core.ClassSymptom)
				switch {
				case is && !was:
					began = n
				case !is && was:
					ended++
					if n < until && share > 0 {
						t.Errorf("%d requests a second, %g failing: well at %s after %s of it", perSecond, share, at.Sub(epoch), half(n).Sub(half(began)))
					}
				}
				if is && (a.Condition != core.Degraded || a.Kind != core.KindErrors) {
					t.Fatalf("%+v", a)
				}
				was = is
			}
		}
		const hour = 7200
		run(0, 60, 0)
		run(60, hour, share)
		if !was {
			t.Fatalf("%d requests a second, %g failing: no symptom", perSecond, share)
		}
		ended = 0
		run(hour, hour+2*int(Window/time.Second), 0)
		if was || ended != 1 {
			t.Errorf("%d requests a second: it ended %d times, and is %t, %s after its end", perSecond, ended, was, Window)
		}
	}
	f(10, 0.3)
	f(12, 0.3)
	f(40, 0.3)
	f(40, 0.15)
}
