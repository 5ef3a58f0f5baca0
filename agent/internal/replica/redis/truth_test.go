package redis

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// committed is when a write was sent and when its commit was known.
type committed struct{ before, after time.Time }

// visible is a read at the copy: it had the writes up to n at some time between the two.
type visible struct {
	before, after time.Time
	n             int
}

// verdict is a status to be judged.
type verdict struct {
	agent string
	st    replica.Status
}

// The harness knows when each write was committed and when it could be read at the copy. The bounds that are reported at
// a moment enclose the true lag at that moment.
func TestTruth(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.complete()
	ctx, stop := context.WithCancel(t.Context())
	var writes []committed
	var reads []visible
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			began := time.Now()
			if err := p.primary.admin.Set(context.Background(), "n", i, 0).Err(); err != nil {
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
	group.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			n, err := p.copy.admin.Get(context.Background(), "n").Result()
			v, _ := strconv.Atoi(n)
			if err == nil {
				reads = append(reads, visible{began, time.Now(), v})
			}
			time.Sleep(time.Millisecond)
		}
	})
	var verdicts []verdict
	begun := time.Now()
	for time.Since(begun) < 20*time.Second {
		at := time.Since(begun)
		p.relay.silent.Store(at > 4*time.Second && at < 12*time.Second || at > 16*time.Second && at < 17*time.Second)
		if at > 13*time.Second && at < 15*time.Second {
			p.relay.rate.Store(20_000)
		} else {
			p.relay.rate.Store(0)
		}
		for _, w := range []*watcher{p.both, p.giver} {
			verdicts = append(verdicts, verdict{w.name, w.look()})
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	group.Wait()
	judge(t, verdicts, writes, reads)
}

// judge counts how many of the intervals hold the true lag.
func judge(t *testing.T, verdicts []verdict, writes []committed, reads []visible) {
	t.Helper()
	type tally struct {
		all, held, bounded, doubtful int
		width, worst                 time.Duration
	}
	tallies := map[string]*tally{"both ends": {}, "source": {}}
	next, unknown := 0, 0
	for _, v := range verdicts {
		if v.st.State == replica.Unknown {
			unknown++
			t.Logf("%s: unknown %s: %s", v.agent, v.st.Reason, v.st.Detail)
		}
		at := v.st.At
		for next < len(reads) && reads[next].after.Before(at) {
			next++
		}
		if next == 0 || next == len(reads) || !v.st.Lower.OK {
			continue
		}
		// What was read before At was visible at At; what was not yet there in a read that began after At was not.
		low := next - 1
		high := next
		for high < len(reads) && reads[high].before.Before(at) {
			high++
		}
		if high == len(reads) {
			continue
		}
		longest := age(writes, reads[low].n, at, func(c committed) time.Time { return c.before })
		shortest := age(writes, reads[high].n, at, func(c committed) time.Time { return c.after })
		y := tallies[v.agent]
		y.all++
		y.worst = max(y.worst, longest)
		if v.st.Upper.OK {
			y.bounded++
			y.width += v.st.Upper.V - v.st.Lower.V
		}
		if longest > shortest+100*time.Millisecond {
			y.doubtful++
		}
		if v.st.Lower.V <= longest && (!v.st.Upper.OK || v.st.Upper.V >= shortest) {
			y.held++
			continue
		}
		t.Logf("%s: %v %v..%v does not hold %v..%v", v.agent, v.st.State, v.st.Lower, v.st.Upper, shortest, longest)
	}
	if unknown > len(verdicts)/100 {
		t.Errorf("%d of %d looks told nothing", unknown, len(verdicts))
	}
	for name, y := range tallies {
		if y.all < 200 || y.bounded < y.all*9/10 || y.worst < 2*time.Second {
			t.Fatalf("%s: the test tests too little: %+v", name, *y)
		}
		coverage := float64(y.held) / float64(y.all)
		t.Logf("%s: %d samples, %.3f %% hold the true lag, mean width %s, %d with an upper bound, %d where the harness itself is not sure within 100 ms; worst lag %s",
			name, y.all, 100*coverage, (y.width / time.Duration(max(y.bounded, 1))).Round(10*time.Microsecond), y.bounded, y.doubtful, y.worst.Round(time.Millisecond))
		if coverage < 0.999 {
			t.Errorf("%s: coverage %.4f", name, coverage)
		}
	}
}

// age is how old the oldest write after the first n is at a time; 0 when there is none by then.
func age(writes []committed, n int, at time.Time, when func(committed) time.Time) time.Duration {
	if n >= len(writes) {
		return 0
	}
	return max(at.Sub(when(writes[n])), 0)
}
