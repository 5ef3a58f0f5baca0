package act

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	fewRequests  = 10              // success waits for so many
	fewExpected  = 5               // a share above wants more than this expected, else one request will do
	significance = 0.05            // of the test on success
	goneAfter    = 5 * time.Second // data older than this at the end cannot be told from
	defaultBelow = 0.01            // share after a step to weight 0 that asks for nothing
)

// traffic is the edge's figures that were counted wholly at since or later; Known is false when there are none. The
// edge does not tell units apart, so of a unit nothing is known.
func (h *Hand) traffic(in core.Intent, since time.Time) core.Traffic {
	site := in.Subject.Site
	switch {
	case in.Subject.Unit != "":
		return core.Traffic{Site: site, Service: in.Subject.Service}
	case !in.Subject.WholeSite():
		return h.trafficOf(site, in.Subject.Service, since)
	case h.o.Services == nil:
		return core.Traffic{Site: site, Service: core.AllServices}
	}
	var parts []core.Traffic
	for _, service := range h.o.Services(site) {
		parts = append(parts, h.trafficOf(site, service, since))
	}
	return together(in, parts)
}

func (h *Hand) trafficOf(site, service string, since time.Time) core.Traffic {
	if view, ok := h.o.Edge.(SinceView); ok {
		return view.TrafficSince(site, service, since)
	}
	t := h.o.Edge.Traffic(site, service)
	t.Known = t.Known && !t.At.Before(since.Add(h.timing.EdgeWindow))
	return t
}

// together is a site out of its services: as old as the oldest of them, known when all of them are, with the
// weight that is farthest from the wanted one.
func together(in core.Intent, parts []core.Traffic) core.Traffic {
	out := core.Traffic{Site: in.Subject.Site, Service: core.AllServices, Known: len(parts) > 0, WeightKnown: len(parts) > 0}
	good, users := 0.0, 0.0
	for i, t := range parts {
		if i == 0 || t.At.Before(out.At) {
			out.At = t.At
		}
		if i == 0 || math.Abs(t.Weight-float64(in.Weight)) > math.Abs(out.Weight-float64(in.Weight)) {
			out.Weight = t.Weight
		}
		out.Known, out.WeightKnown = out.Known && t.Known, out.WeightKnown && t.WeightKnown
		out.Requests += t.Requests
		out.Count += t.Count
		out.ServiceCount += t.ServiceCount
		good += t.Success * t.Count
		users += t.ServiceSuccess * t.ServiceCount
	}
	if out.Count > 0 {
		out.Success = good / out.Count
	}
	if out.ServiceCount > 0 {
		out.Share, out.ServiceSuccess = out.Count/out.ServiceCount, users/out.ServiceCount
	}
	return out
}

// shows reports whether the edge, on data counted after sent, shows what the intent wants. A share that looked like that
// before is no proof.
func (h *Hand) shows(in core.Intent, sent time.Time) (core.Traffic, bool) {
	t := h.traffic(in, sent)
	if !t.Known {
		return t, false
	}
	if t.WeightKnown {
		return t, sameWeight(t, in)
	}
	spec := demand(in)
	if spec.ShareBelow == 0 && spec.ShareAbove == 0 || t.ServiceCount == 0 || !in.Before.Known || shareHolds(spec, in.Before) {
		return t, false
	}
	return t, shareHolds(spec, t)
}

func sameWeight(t core.Traffic, in core.Intent) bool {
	return math.Abs(t.Weight-float64(in.Weight)) <= 1
}

func shareHolds(spec core.VerifySpec, t core.Traffic) bool {
	return (spec.ShareBelow == 0 || t.Share < spec.ShareBelow) && (spec.ShareAbove == 0 || t.Share > spec.ShareAbove)
}

// demand is what the step asks for, or what a step to weight 0 asks for by itself.
func demand(in core.Intent) core.VerifySpec {
	spec := in.Verify
	if spec.ShareBelow == 0 && spec.ShareAbove == 0 && spec.SuccessAbove == 0 && in.Weight == 0 {
		spec.ShareBelow = defaultBelow
	}
	return spec
}

// sight is what one look at the edge says of the step.
type sight uint8

const (
	sightOpen sight = iota // not enough to judge by
	sightBad
	sightGood
)

// verify looks at the edge until the step has shown its effect, or its time is over.
func (h *Hand) verify(ctx context.Context, j *job, done time.Time) {
	within := j.Verify.Within.Duration()
	if within <= 0 {
		within = h.timing.Within
	}
	soonest := h.timing.Soonest
	if _, ok := h.o.Edge.(SinceView); !ok {
		soonest = h.timing.EdgeWindow + h.timing.Soonest
	}
	end := done.Add(max(within, soonest))
	var (
		looks  []core.Traffic // oldest first, for pooling
		last   core.Traffic
		seen   time.Time // when last came
		latest sight
		why    = "the edge reported nothing after it"
		good   int
	)
	for {
		now := time.Now()
		over := !now.Before(end)
		fresh := false
		if t := h.traffic(j.Intent, done); t.Known && t.At.After(last.At) {
			last, seen, fresh = t, now, true
			looks = remember(looks, t)
		}
		if !seen.IsZero() {
			latest, why = judge(j.Intent, last, looks, over)
		}
		switch {
		case latest != sightGood:
			good = 0
		case fresh || over && now.Sub(seen) <= goneAfter:
			good++
		}
		if good >= h.timing.Looks || over && good > 0 {
			h.tell(ctx, j, core.OutcomeVerified, nil, &last, fmt.Sprintf("%s: %s", j.Target, figures(j.Intent, last)))
			return
		}
		if over {
			break
		}
		if !pause(ctx, min(h.timing.Look, time.Until(end))) {
			return
		}
	}
	took := time.Since(done).Round(time.Second)
	switch {
	case !seen.IsZero() && latest == sightBad && time.Since(seen) <= goneAfter:
		h.tell(ctx, j, core.OutcomeIneffective, nil, &last,
			fmt.Sprintf("%s: %s in %s: %s", j.Target, figures(j.Intent, last), seconds(took), why))
	case seen.IsZero():
		h.tell(ctx, j, core.OutcomeCannotTell, nil, nil,
			fmt.Sprintf("%s: cannot be verified in %s: no fresh figures of the edge", j.Target, seconds(took)))
	case time.Since(seen) > goneAfter:
		h.tell(ctx, j, core.OutcomeCannotTell, nil, &last,
			fmt.Sprintf("%s: cannot be verified: the edge has said nothing for %s", j.Target, seconds(time.Since(seen).Round(time.Second))))
	default:
		h.tell(ctx, j, core.OutcomeCannotTell, nil, &last, fmt.Sprintf("%s: cannot be verified in %s: %s", j.Target, seconds(took), why))
	}
}

// remember keeps t when its window does not overlap the one before. The newest look always counts by itself.
func remember(looks []core.Traffic, t core.Traffic) []core.Traffic {
	if n := len(looks); n > 0 && t.At.Add(-window(t)).Before(looks[n-1].At) {
		return looks
	}
	return append(looks, t)
}

// window is how long the figures cover; where it cannot be known, for want of requests, it is taken to be long.
func window(t core.Traffic) time.Duration {
	if t.Requests <= 0 {
		return 10 * time.Second
	}
	return time.Duration(t.Count / t.Requests * float64(time.Second))
}

// judge says what the newest look means. over is true once there is no time left for more requests to arrive.
func judge(in core.Intent, t core.Traffic, looks []core.Traffic, over bool) (sight, string) {
	spec := demand(in)
	if t.WeightKnown && !sameWeight(t, in) {
		return sightBad, fmt.Sprintf("the edge reports weight %s, wanted %s", percent(t.Weight/100), percent(float64(in.Weight)/100))
	}
	if spec.ShareBelow == 0 && spec.ShareAbove == 0 && spec.SuccessAbove == 0 {
		if t.WeightKnown {
			return sightGood, ""
		}
		return sightOpen, "the step asks for nothing that the edge reports"
	}
	if s, why := judgeShare(spec, in, t); s != sightGood {
		return s, why
	}
	return judgeSuccess(spec.SuccessAbove, in, t, looks, over)
}

func judgeShare(spec core.VerifySpec, in core.Intent, t core.Traffic) (sight, string) {
	if spec.ShareBelow == 0 && spec.ShareAbove == 0 {
		return sightGood, ""
	}
	if t.ServiceCount == 0 {
		return sightOpen, "no user asked for the service, so there is no share"
	}
	moved := func(wanted string) string {
		if in.Before.Known && math.Abs(t.Share-in.Before.Share) < max(0.01, in.Before.Share/10) {
			return "nothing moved"
		}
		return wanted
	}
	if spec.ShareBelow > 0 && t.Share >= spec.ShareBelow {
		return sightBad, moved("wanted below " + percent(spec.ShareBelow))
	}
	if spec.ShareAbove > 0 && t.Share <= spec.ShareAbove {
		if spec.ShareAbove*t.ServiceCount >= fewExpected {
			return sightBad, moved("wanted above " + percent(spec.ShareAbove))
		}
		if t.Count == 0 {
			return sightOpen, "too few users asked to expect one at the site"
		}
	}
	return sightGood, ""
}

func judgeSuccess(wanted float64, in core.Intent, t core.Traffic, looks []core.Traffic, over bool) (sight, string) {
	if wanted <= 0 {
		return sightGood, ""
	}
	of := func(t core.Traffic) (requests, failures float64) {
		if in.Weight == 0 {
			return t.ServiceCount, t.ServiceCount * (1 - t.ServiceSuccess)
		}
		return t.Count, t.Count * (1 - t.Success)
	}
	requests, failures := of(t)
	oldest := t.At.Add(-window(t))
	for i := len(looks) - 1; i >= 0 && requests < fewRequests; i-- {
		if looks[i].At.After(oldest) {
			continue // overlaps what is counted already, or is the newest itself
		}
		n, f := of(looks[i])
		requests, failures = requests+n, failures+f
		oldest = looks[i].At.Add(-window(looks[i]))
	}
	requests, failures = math.Round(requests), math.Round(failures)
	switch {
	case requests < 1:
		return sightOpen, "no request reached the site, so its success is unknown"
	case requests < fewRequests && !over:
		return sightOpen, fmt.Sprintf("only %.0f requests so far", requests)
	case unlikely(requests, failures, 1-wanted):
		return sightBad, fmt.Sprintf("%.0f of %.0f requests failed, wanted %s success", failures, requests, precise(wanted))
	}
	return sightGood, ""
}

// unlikely reports whether so many failures or more have a probability below significance when each request fails with
// probability rate: the exact upper tail of the binomial distribution.
func unlikely(requests, failures, rate float64) bool {
	switch {
	case failures <= requests*max(rate, 0): // not even more than expected
		return false
	case rate <= 0:
		return true
	}
	logChoose := func(k float64) float64 {
		a, _ := math.Lgamma(requests + 1)
		b, _ := math.Lgamma(k + 1)
		c, _ := math.Lgamma(requests - k + 1)
		return a - b - c
	}
	below := 0.0
	for k := 0.0; k < failures; k++ {
		below += math.Exp(logChoose(k) + k*math.Log(rate) + (requests-k)*math.Log1p(-rate))
	}
	return 1-below < significance
}
