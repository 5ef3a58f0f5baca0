package replicatest

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Truth is one comparison of what is reported with what happened. The methods are called by the test's goroutine; Run last.
type Truth struct {
	t       *testing.T
	load    *Journal
	rounds  time.Duration // the script is repeated for so long; 0: once
	tasks   []func(context.Context) error
	subject []*subject
	beside  []*exporter

	turn    sync.Mutex // whose it is to write; held while the load rests
	one     func(i int) error
	written int
	rests   []rest
	alert   atomic.Bool // the exporters are asked all the time
}

// subject is one who reports.
type subject struct {
	name   string
	look   func() (replica.Status, time.Time)
	copies []*Copy
	seen   []report
}

// report is a status and when the look behind it began.
type report struct {
	replica.Status
	began time.Time
}

// Step is a part of the script: what is done, and how long is looked after it.
type Step struct {
	For time.Duration
	Do  func()
}

// NewTruth makes a comparison whose load calls write once for each write, from 0 on, one after another: in bursts, steadily,
// with pauses of more than a second, and once after a rest.
func NewTruth(t *testing.T, write func(i int) error) *Truth {
	t.Helper()
	tr := &Truth{t: t, load: &Journal{}, one: write}
	if text, ok := os.LookupEnv("TRUTH"); ok {
		long, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("TRUTH=%q is no duration such as 10m", text)
		}
		tr.rounds = long
	}
	tr.tasks = append(tr.tasks, func(ctx context.Context) error {
		for ctx.Err() == nil {
			tr.turn.Lock()
			i := tr.written
			err := tr.commit()
			tr.turn.Unlock()
			if err != nil {
				return err
			}
			Sleep(ctx, pause(i))
		}
		return nil
	})
	return tr
}

// commit writes the next one, by whose turn it is.
func (tr *Truth) commit() error {
	i := tr.written
	tr.written++
	return tr.load.Commit(func() error { return tr.one(i) })
}

// pause is how long the load rests after a write.
func pause(i int) time.Duration {
	switch i / 200 % 5 {
	case 0: // a burst
		return time.Duration(i%2) * time.Millisecond
	case 4:
		if i%50 == 0 {
			return 1200 * time.Millisecond
		}
		return 20 * time.Millisecond
	default:
		return time.Duration(1+i%9) * time.Millisecond
	}
}

// Sleep is over when the context is.
func Sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	rest := time.NewTimer(d)
	defer rest.Stop()
	select {
	case <-ctx.Done():
	case <-rest.C:
	}
}

// Copy is one whose number of writes is asked all the time. An error that the asking returns ends the test.
func (tr *Truth) Copy(ask func() (int, error)) *Copy { return tr.CopyOf(tr.load, ask) }

// CopyOf is one of another journal's writes.
func (tr *Truth) CopyOf(j *Journal, ask func() (int, error)) *Copy {
	c := j.Copy()
	tr.tasks = append(tr.tasks, func(ctx context.Context) error {
		for ctx.Err() == nil {
			began := time.Now()
			n, err := ask()
			if err != nil {
				return err
			}
			c.Saw(n, began, time.Now())
			Sleep(ctx, 2*time.Millisecond)
		}
		return nil
	})
	return c
}

// Group is a copy that tells by itself what it has applied: consume notes it, until the context ends.
func (tr *Truth) Group(consume func(context.Context, *Copy) error) *Copy {
	c := tr.load.Copy()
	tr.tasks = append(tr.tasks, func(ctx context.Context) error { return consume(ctx, c) })
	return c
}

// Watch compares the statuses that look returns, with the time at which each look began. What is missing at any of the copies
// is missing.
func (tr *Truth) Watch(name string, look func() (replica.Status, time.Time), copies ...*Copy) {
	tr.subject = append(tr.subject, &subject{name: name, look: look, copies: copies})
}

// Run plays the script and judges. The last step should leave the link whole: after the first round, and every third one from then
// on, the load rests.
func (tr *Truth) Run(script ...Step) {
	tr.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(tr.t.Context()))
	var all sync.WaitGroup
	failures := make(chan error, len(tr.tasks))
	for _, task := range tr.tasks {
		all.Go(func() { failures <- task(ctx) })
	}
	for _, one := range tr.beside {
		all.Go(func() { one.ask(ctx, &tr.alert) })
	}
	end := sync.OnceFunc(func() { stop(); all.Wait() })
	defer end() // also when a look ends the test
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < tr.rounds || !tr.enough() && time.Since(began) < Patience; round++ {
		for _, step := range script {
			if step.Do != nil {
				step.Do()
			}
			tr.watch(step.For, brief)
		}
		if round%3 == 0 {
			tr.rest()
		}
	}
	end()
	for range len(tr.tasks) {
		if err := <-failures; err != nil {
			tr.t.Fatal(err)
		}
	}
	for _, s := range tr.subject {
		tr.judge(s)
		tr.calm(s)
	}
	tr.compare()
}

// enough says that a busy machine looked often enough to judge.
func (tr *Truth) enough() bool {
	for _, s := range tr.subject {
		if len(s.seen) < 2*least {
			return false
		}
	}
	return true
}

// brief is the time between looks where much happens.
const brief = 5 * time.Millisecond

func (tr *Truth) watch(long, every time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(every) {
		for _, s := range tr.subject {
			st, began := s.look()
			s.seen = append(s.seen, report{st, began})
		}
	}
}

// lag is the true one at a moment over all copies of a subject.
func (s *subject) lag(at time.Time) (least, most time.Duration, ok bool) {
	return lag(s.copies, at)
}

func lag(copies []*Copy, at time.Time) (least, most time.Duration, ok bool) {
	for _, c := range copies {
		low, high, known := c.Lag(at)
		if !known {
			return 0, 0, false
		}
		least, most = max(least, low), max(most, high)
	}
	return least, most, true
}
