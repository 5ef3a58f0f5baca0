package nats

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// committed is when a message was sent and when its acknowledgement was there.
type committed struct{ before, after time.Time }

// visible is a read at the copy: it had the messages up to n at some time between the two.
type visible struct {
	before, after time.Time
	n             int
}

// verdict is a status to be judged, with what the sighting measured.
type verdict struct {
	agent string
	st    replica.Status
	lower replica.Opt[time.Duration]
}

// The harness knows when each message was stored and when it could be read at the copy. The bounds that are reported at a
// moment enclose the true lag at that moment.
func TestTruth(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.complete(20 * time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var writes []committed
	var mirrored, sourced []visible
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			began := time.Now()
			if _, err := p.origin.js.Publish(context.Background(), "orders.n", []byte(strconv.Itoa(i))); err != nil {
				t.Error(err)
				return
			}
			writes = append(writes, committed{began, time.Now()})
			// Bursts, a steady load, and pauses of more than a second.
			switch i / 200 % 4 {
			case 0:
			case 1, 2:
				time.Sleep(time.Duration(1+i%9) * time.Millisecond)
			case 3:
				if i%50 == 0 {
					time.Sleep(1200 * time.Millisecond)
				}
			}
		}
	})
	read := func(stream string, out *[]visible) {
		s, err := p.copied.js.Stream(context.Background(), stream)
		if err != nil {
			t.Error(err)
			return
		}
		for ctx.Err() == nil {
			began := time.Now()
			if m, err := s.GetLastMsgForSubject(context.Background(), "orders.n"); err == nil {
				n, _ := strconv.Atoi(string(m.Data))
				*out = append(*out, visible{began, time.Now(), n})
			}
			time.Sleep(time.Millisecond)
		}
	}
	group.Go(func() { read("ORDERS", &mirrored) })
	group.Go(func() { read("ALL", &sourced) })
	var verdicts []verdict
	begun := time.Now()
	for time.Since(begun) < 20*time.Second {
		at := time.Since(begun)
		p.relay.silent.Store(at > 4*time.Second && at < 10*time.Second || at > 16*time.Second && at < 17*time.Second)
		p.relay.rate.Store(0)
		if at > 13*time.Second && at < 15*time.Second {
			p.relay.rate.Store(20_000)
		}
		for _, w := range p.sighted() {
			st := w.look()
			verdicts = append(verdicts, verdict{w.name, st, w.seen.Lower})
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	group.Wait()
	for name, reads := range map[string][]visible{"both ends": mirrored, "source": mirrored, "fan-in": sourced} {
		judgeTruth(t, name, verdicts, writes, reads)
	}
}

// judgeTruth counts how many of an agent's intervals hold the true lag.
func judgeTruth(t *testing.T, name string, verdicts []verdict, writes []committed, reads []visible) {
	t.Helper()
	var all, held, bounded, down, doubtful, unknown int
	var width, worst time.Duration
	next := 0
	for _, v := range verdicts {
		if v.agent != name {
			continue
		}
		at := v.st.At
		if v.st.State == replica.Unknown {
			unknown++
			t.Logf("%s: unknown %s: %s", name, v.st.Reason, v.st.Detail)
		}
		for next < len(reads) && reads[next].after.Before(at) {
			next++
		}
		if next == 0 || next == len(reads) || !v.st.Lower.OK {
			continue
		}
		// What was read before At was visible at At; what was not yet there in a read that began after At was not.
		high := next
		for high < len(reads) && reads[high].before.Before(at) {
			high++
		}
		if high == len(reads) {
			continue
		}
		longest := age(writes, reads[next-1].n, at, func(c committed) time.Time { return c.before })
		shortest := age(writes, reads[high].n, at, func(c committed) time.Time { return c.after })
		lower := v.st.Lower.V
		if v.st.State == replica.LinkDown {
			// Of a link that is down the reported lower bound is since when it was not heard, and not what was measured.
			down++
			lower = min(lower, v.lower.Or(lower))
		}
		all++
		worst = max(worst, longest)
		if v.st.Upper.OK {
			bounded++
			width += v.st.Upper.V - lower
		}
		if longest > shortest+100*time.Millisecond {
			doubtful++
		}
		if lower <= longest && (!v.st.Upper.OK || v.st.Upper.V >= shortest) {
			held++
			continue
		}
		t.Logf("%s: %v %v..%v does not hold %v..%v", name, v.st.State, lower, v.st.Upper, shortest, longest)
	}
	if all < 200 || bounded < all*9/10 || worst < 2*time.Second || unknown > all/100 {
		t.Fatalf("%s: the test tests too little: %d samples, %d bounded, worst lag %s, %d unknown", name, all, bounded, worst, unknown)
	}
	coverage := float64(held) / float64(all)
	t.Logf("%s: %d samples, %.3f %% hold the true lag, mean width %s, %d with an upper bound, %d of a link that is down, %d where the harness itself is not sure within 100 ms; worst lag %s",
		name, all, 100*coverage, (width / time.Duration(max(bounded, 1))).Round(10*time.Microsecond), bounded, down, doubtful, worst.Round(time.Millisecond))
	if coverage < 0.999 {
		t.Errorf("%s: coverage %.4f", name, coverage)
	}
}

// age is how old the oldest message after the first n is at a time; 0 when there is none by then.
func age(writes []committed, n int, at time.Time, when func(committed) time.Time) time.Duration {
	if n >= len(writes) {
		return 0
	}
	return max(at.Sub(when(writes[n])), 0)
}
