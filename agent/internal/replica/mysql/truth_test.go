package mysql

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// truth knows of each row when it was committed and when it could first be read at the replica.
type truth struct {
	mu      sync.Mutex
	rows    []truthRow
	visible int // rows before this one were seen at the replica
}

type truthRow struct{ before, after, unseen, seen time.Time }

// lag is the age at a moment of the oldest row that was committed and not visible: surely at least the first, at most the
// second figure.
func (tr *truth) lag(at time.Time) (least, most time.Duration) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, r := range tr.rows {
		gone := !r.seen.IsZero() && !r.seen.After(at)
		if r.before.After(at) || gone {
			continue
		}
		if most == 0 {
			most = at.Sub(r.before)
		}
		surelyThere := !r.after.IsZero() && !r.after.After(at)
		surelyMissing := !r.unseen.IsZero() && !r.unseen.Before(at)
		if surelyThere && surelyMissing {
			return at.Sub(r.after), most
		}
	}
	return 0, most
}

// wrote notes that a row is about to be committed, or was.
func (tr *truth) wrote(done bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if n := len(tr.rows); !done {
		tr.rows = append(tr.rows, truthRow{before: time.Now()})
	} else {
		tr.rows[n-1].after = time.Now()
	}
}

// read notes how many rows were seen by a question.
func (tr *truth) read(newest int, asked, told time.Time) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i := tr.visible; i < len(tr.rows); i++ {
		if i < newest {
			tr.rows[i].seen = told
		} else {
			tr.rows[i].unseen = asked
		}
	}
	tr.visible = newest
}

func TestTruth(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	f := func(name string, withBeats bool) {
		both.Go(func() {
			t.Run(name, func(t *testing.T) {
				p := newPair(t)
				o := Options{Server: p.server(p.replica, "evenkeel")}
				const every = 200 * time.Millisecond
				beats := &truth{}
				if withBeats {
					writer, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
					if err != nil {
						t.Fatal(err)
					}
					defer writer.Close()
					o.HeartbeatDatabase = "evenkeel"
					defer beating(t, writer, 1, every, 0, beats.wrote)()
				}
				w := newWatch(t, o, replica.Target)
				w.every, w.err = every, time.Millisecond // one machine, one clock
				w.until("start", func(s replica.Status) bool { return s.State == replica.CaughtUp })
				holds(t, p, w, beats)
			})
		})
	}
	f("by positions", false)
	f("by heartbeat", true)
	both.Wait()
}

// holds runs a varied load with stalls for twenty seconds, and counts how often the bounds hold the true lag.
func holds(t *testing.T, p *pair, w *watch, beats *truth) {
	t.Helper()
	load := &truth{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	began := time.Now()
	all.Go(func() { // writes: bursts, single rows, pauses
		for id := 1; ctx.Err() == nil; id++ {
			load.wrote(false)
			_, err := p.primary.Exec("INSERT INTO evenkeel.load_test VALUES (?, REPEAT('x', 100))", id)
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
			load.wrote(true)
			pause := time.Duration(rand.Int64N(int64(40 * time.Millisecond)))
			if phase := time.Since(began) % (5 * time.Second); phase < 1500*time.Millisecond {
				pause = time.Duration(rand.Int64N(int64(1500 * time.Millisecond)))
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
	all.Go(func() { // what is visible
		for ctx.Err() == nil {
			asked := time.Now()
			var row, beat int
			if err := p.replica.QueryRow(`SELECT COALESCE(MAX(id), 0),
COALESCE((SELECT seq FROM evenkeel.evenkeel_heartbeat), 0) FROM evenkeel.load_test`).Scan(&row, &beat); err != nil {
				t.Errorf("read: %v", err)
				return
			}
			told := time.Now()
			load.read(row, asked, told)
			beats.read(beat, asked, told)
			time.Sleep(2 * time.Millisecond)
		}
	})
	all.Go(func() { // the applier stalls, then the link does: shorter than it takes to call it down, and longer
		wait := func(d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		}
		wait(3 * time.Second)
		if _, err := p.replica.Exec("STOP SLAVE SQL_THREAD"); err != nil {
			t.Errorf("stop: %v", err)
		}
		wait(2 * time.Second)
		if _, err := p.replica.Exec("START SLAVE SQL_THREAD"); err != nil {
			t.Errorf("start: %v", err)
		}
		wait(3 * time.Second)
		p.link.set(true, false)
		wait(time.Second)
		p.link.set(false, false)
		wait(3 * time.Second)
		p.link.set(true, false)
		wait(3500 * time.Millisecond)
		p.link.set(false, false)
	})
	type look struct {
		replica.Status
		began time.Time
	}
	var looks []look
	for ctx.Err() == nil {
		looks = append(looks, look{w.look(), w.began})
		time.Sleep(w.every/4 + time.Duration(rand.Int64N(int64(w.every))))
	}
	all.Wait()

	states := map[replica.State]int{}
	judged, held, bounded, width := 0, 0, 0, 0.0
	for _, s := range looks {
		states[s.State]++
		if s.State == replica.Unknown || !s.Lower.OK {
			t.Errorf("a healthy server became %s", tell(s.Status))
			continue
		}
		least, most := load.lag(s.At)
		leastBeat, mostBeat := beats.lag(s.At) // a heartbeat is a transaction like others
		least, most = max(least, leastBeat), max(most, mostBeat)
		// An applier that catches up takes seconds off the lag while a look lasts milliseconds: what is proven from below
		// was so when the server answered, and not necessarily at the end.
		_, earlier := load.lag(s.began)
		_, earlierBeat := beats.lag(s.began)
		most = max(most, earlier, earlierBeat)
		upper := s.Upper.Or(math.MaxInt64)
		lower := s.Lower.V
		if s.State == replica.LinkDown && !s.Upper.OK {
			lower = 0 // it is the lag of a source that goes on writing, and this one pauses
		}
		judged++
		if lower <= most && upper >= least {
			held++
		} else {
			t.Logf("at %s: true lag in [%s, %s]: %s", s.At.Sub(began).Round(time.Millisecond), least, most, tell(s.Status))
		}
		if s.Upper.OK {
			bounded++
			width += (upper - s.Lower.V).Seconds()
		}
	}
	t.Logf("%d of %d samples held the true lag of %d rows; mean width %.0f ms of %d with an upper bound; %v", held, judged,
		len(load.rows), 1000*width/float64(max(bounded, 1)), bounded, states)
	if judged < 50 || float64(held) < 0.999*float64(judged) {
		t.Errorf("only %d of %d samples held the true lag", held, judged)
	}
}
