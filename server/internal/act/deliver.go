package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// lastMoment is how long before not_after the last attempt is made.
	lastMoment = time.Second
	// lastLook is how long the world is watched before an intent that may have arrived is called expired.
	lastLook = 4 * time.Second
	// maxDetail is the longest detail of an attempt, in bytes.
	maxDetail = 300
)

// answer is one attempt's end as deliver sees it.
type answer struct {
	result   string
	detail   string
	wait     time.Duration // not sooner, 0 when not said
	final    core.OutcomeKind
	sentence string
}

// deliver repeats the request until an answer counts. It returns when the desired state was reached, as far as the
// executor or the world says; false when there is nothing to verify.
func (h *Hand) deliver(ctx context.Context, j *job) (time.Time, bool) {
	sender, known := h.o.Targets[j.Target]
	switch {
	case !known:
		h.tell(ctx, j, core.OutcomeFailed, nil, nil, fmt.Sprintf("no target named %q is configured", j.Target))
		return time.Time{}, false
	case j.Seq <= 0:
		h.tell(ctx, j, core.OutcomeFailed, nil, nil, "the intent was never recorded, so it is not sent")
		return time.Time{}, false
	case j.NotAfter.IsZero():
		h.tell(ctx, j, core.OutcomeFailed, nil, nil, "the intent does not say until when it may be delivered")
		return time.Time{}, false
	}
	request := h.request(j.Intent)
	// sent is since when a request may have reached the executor without our knowing; before the first attempt
	// only an earlier process can have sent one.
	sent := time.Now()
	arrived := sent.After(j.NotAfter)
	retries, polls := 0, 0
	expire := func(why string) (time.Time, bool) { return h.expire(ctx, j, sent, arrived || polls > 0, why) }
	for time.Now().Before(j.NotAfter) {
		if !h.allowed(ctx) {
			return time.Time{}, false
		}
		start := time.Now()
		a := h.attempt(ctx, j, sender, request)
		if ctx.Err() != nil {
			return time.Time{}, false
		}
		switch {
		case a.final == core.OutcomeDone:
			h.tell(ctx, j, core.OutcomeDone, nil, nil, a.sentence)
			return time.Now(), true
		case a.final == core.OutcomeExpired:
			return expire(a.sentence) // it no longer takes the command, but an earlier attempt may have been obeyed
		case a.final != "":
			h.tell(ctx, j, a.final, nil, nil, a.sentence)
			return time.Time{}, false
		case a.result == resultUnknown && !arrived:
			sent, arrived = start, true
		}
		var wait time.Duration
		if a.result == resultAccepted {
			wait, polls = nth(h.timing.Polls, polls), polls+1
		} else {
			wait, retries = nth(h.timing.Waits, retries), retries+1
		}
		next := time.Now().Add(max(wait+jitter(wait), a.wait))
		if last := j.NotAfter.Add(-lastMoment); next.After(last) && time.Now().Before(last) && time.Now().Add(a.wait).Before(last) {
			next = last
		}
		if done, ok := h.await(ctx, j, earlier(next, j.NotAfter), sent, arrived); ok || ctx.Err() != nil {
			return done, ok
		}
	}
	return expire("")
}

// await waits until the given time. When an attempt may have arrived it looks at the world meanwhile, and reports true
// as soon as the edge shows the desired state.
func (h *Hand) await(ctx context.Context, j *job, until, sent time.Time, arrived bool) (time.Time, bool) {
	if !arrived {
		pause(ctx, time.Until(until))
		return time.Time{}, false
	}
	for {
		if t, ok := h.shows(j.Intent, sent); ok {
			h.tell(ctx, j, core.OutcomeDone, nil, &t,
				fmt.Sprintf("%s gave no answer that counts, but the edge shows it: %s", j.Target, figures(j.Intent, t)))
			return time.Now(), true
		}
		rest := time.Until(until)
		if rest <= 0 || !pause(ctx, min(rest, h.timing.Look)) {
			return time.Time{}, false
		}
	}
}

// expire gives the world a last look where an attempt may have arrived, and then reports that time is up.
func (h *Hand) expire(ctx context.Context, j *job, sent time.Time, arrived bool, why string) (time.Time, bool) {
	if arrived {
		if done, ok := h.await(ctx, j, time.Now().Add(lastLook), sent, true); ok || ctx.Err() != nil {
			return done, ok
		}
	}
	if why == "" {
		why = fmt.Sprintf("%s gave no answer that counts before %s (%d attempts)",
			j.Target, j.NotAfter.UTC().Format(time.RFC3339), j.attempts)
	}
	if arrived {
		why += "; it may have been obeyed all the same, the edge does not show it"
	}
	h.tell(ctx, j, core.OutcomeExpired, nil, nil, why)
	return time.Time{}, false
}

// attempt makes one try and reports it.
func (h *Hand) attempt(ctx context.Context, j *job, s Sender, r remediations.Request) answer {
	j.attempts++
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, h.timing.Attempt)
	receipt, err := s.Do(bounded, r)
	cancel()
	took := time.Since(start)
	a := j.read(receipt, err)
	if ctx.Err() != nil {
		return a // tell says nothing, and neither do the metrics: the attempt was broken off by us
	}
	h.metrics.attempts.WithLabelValues(j.Target, a.result).Inc()
	h.metrics.latency.Observe(took.Seconds())
	if a.result != resultDone && a.result != resultAccepted {
		h.log.Warn("delivery attempt", slog.String("intent", j.ID), slog.String("target", j.Target),
			slog.Int("attempt", j.attempts), slog.String("result", a.result), slog.String("detail", a.detail))
	}
	h.tell(ctx, j, core.OutcomeAttempt, &core.Attempt{
		N: j.attempts, At: start, LatencyMS: millis(took), Status: status(receipt, err), Result: a.result, Detail: a.detail,
	}, nil, "")
	return a
}

// read says what an attempt's end means for the intent.
func (j *job) read(rc remediations.Receipt, err error) answer {
	if err != nil {
		return j.readError(err)
	}
	detail := cut(rc.Detail, maxDetail)
	with := func(text string) string {
		if detail == "" {
			return text
		}
		return text + ": " + detail
	}
	switch rc.State {
	case remediations.StateDone:
		if rc.DryRun {
			why := j.Target + " only rehearsed the command"
			return answer{result: resultFailed, detail: why, final: core.OutcomeFailed, sentence: why}
		}
		text := fmt.Sprintf("%s says done", j.Target)
		if rc.Weight != nil {
			text += fmt.Sprintf(", weight %s", percent(*rc.Weight/100))
		}
		return answer{result: resultDone, detail: detail, final: core.OutcomeDone, sentence: text}
	case remediations.StateAccepted:
		return answer{result: resultAccepted, detail: detail, wait: rc.RetryAfter}
	case remediations.StateRefused:
		by := rc.RefusedBy
		if by == "" {
			by = "a rule of its own"
		}
		why := with(fmt.Sprintf("%s refused by %s", j.Target, by))
		return answer{result: resultRefused, detail: why, final: core.OutcomeRefused, sentence: why}
	case remediations.StateStale:
		why := j.Target + " obeys a newer command"
		if rc.Current != nil {
			why += fmt.Sprintf(" (epoch %d, seq %d; ours has seq %d)", rc.Current.Epoch, rc.Current.Seq, j.Seq)
		}
		return answer{result: resultRefused, detail: why, final: core.OutcomeRefused, sentence: why}
	case remediations.StateExpired:
		why := fmt.Sprintf("%s says that not_after has passed", j.Target)
		if time.Now().Before(j.NotAfter) {
			why += ", which by our clock it has not: compare the clocks"
		}
		return answer{result: resultRefused, detail: why, final: core.OutcomeExpired, sentence: why}
	case remediations.StateUnknown:
	}
	return answer{result: resultUnknown, detail: with("the answer says nothing")}
}

func (j *job) readError(err error) answer {
	var (
		transient *remediations.Transient
		permanent *remediations.Permanent
		unknown   *remediations.Unknown
	)
	detail := cut(err.Error(), maxDetail)
	switch {
	case errors.As(err, &permanent):
		return answer{
			result: resultFailed, detail: detail, final: core.OutcomeFailed,
			sentence: fmt.Sprintf("%s cannot be told: %s", j.Target, cut(permanent.Err.Error(), maxDetail)),
		}
	case errors.As(err, &transient):
		return answer{result: resultRetry, detail: detail, wait: transient.RetryAfter}
	case errors.As(err, &unknown):
		return answer{result: resultUnknown, detail: detail, wait: unknown.RetryAfter}
	}
	return answer{result: resultUnknown, detail: detail} // an error of no known type says nothing about the outcome
}

func status(rc remediations.Receipt, err error) int {
	var (
		transient *remediations.Transient
		permanent *remediations.Permanent
		unknown   *remediations.Unknown
	)
	switch {
	case errors.As(err, &transient):
		return transient.Status
	case errors.As(err, &permanent):
		return permanent.Status
	case errors.As(err, &unknown):
		return unknown.Status
	}
	return rc.Status
}

// jitter is up to a fifth of d, so that the retries of several actions do not march in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d)/5 + 1))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
