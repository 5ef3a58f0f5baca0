package act_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// pager notes what it is told and answers with an error while down is set.
type pager struct {
	mu   sync.Mutex
	told []string
	at   []time.Time
	down error
	slow time.Duration
}

func (p *pager) Page(ctx context.Context, n core.Notice) (act.Paged, error) {
	p.mu.Lock()
	p.told, p.at = append(p.told, n.ID), append(p.at, time.Now())
	down, slow := p.down, p.slow
	p.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return act.Paged{}, &remediations.Unknown{Err: ctx.Err()}
	}
	return act.Paged{Status: 202, Detail: "Event processed"}, down
}

func (p *pager) set(f func(*pager)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *pager) got() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.told, " ")
}

// ends are the final states by id.
func (s *story) ends() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, n := range s.notices {
		if n.State != "" {
			out = append(out, n.NoticeID+"="+n.State)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func pageRoom(t *testing.T, p act.Pager) (*act.Hand, *story) {
	t.Helper()
	s := &story{}
	h := act.New(act.Options{Edge: newEdge(), Outcomes: s.outcome, NoticeOutcomes: s.notice, Pager: p})
	t.Cleanup(func() {
		if err := h.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return h, s
}

func notice(id, kind, key string) core.Notice {
	return core.Notice{ID: id, Kind: kind, DedupKey: key, Severity: "critical", Summary: id, Source: "fra", At: time.Now()}
}

func TestNoticesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pager{slow: time.Second}
		h, s := pageRoom(t, p)
		h.Notify(notice("t", "trigger", "k"))
		h.Notify(notice("t", "trigger", "k"))
		synctest.Wait()
		h.Notify(notice("u", "update", "k"))
		h.Notify(notice("other", "trigger", "l"))
		synctest.Wait()
		if got := p.got(); got != "t other" {
			t.Errorf("told %s while the first is out", got)
		}
		time.Sleep(1500 * time.Millisecond)
		h.Notify(notice("r", "resolve", "k"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := p.got(); got != "t other u r" {
			t.Errorf("told %s", got)
		}
		if got := s.ends(); got != "other=sent r=sent t=sent u=sent" {
			t.Errorf("ends %s", got)
		}
		h.Notify(notice("t", "trigger", "k")) // known: its state is said again, it is not sent again
		synctest.Wait()
		if p.got() != "t other u r" || strings.Count(s.ends(), "t=sent") != 2 {
			t.Errorf("told %s, ends %s", p.got(), s.ends())
		}
	})
}

func TestNoticeRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pager{down: &remediations.Transient{Err: errors.New("503"), Status: 503}}
		h, s := pageRoom(t, p)
		h.Notify(notice("t", "trigger", "k"))
		time.Sleep(100 * time.Second)
		p.set(func(p *pager) { p.down = nil })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := s.ends(); got != "t=sent" {
			t.Errorf("ends %s", got)
		}
		for i := 1; i < len(p.at); i++ {
			if gap := p.at[i].Sub(p.at[i-1]); gap < 10*time.Second {
				t.Errorf("again after %s", gap)
			}
		}
		if len(s.notices) != len(p.at) || s.notices[0].Attempt.Result != "retry" || s.notices[0].Attempt.Status != 503 || s.notices[0].State != "" {
			t.Errorf("%d outcomes of %d attempts, the first %+v", len(s.notices), len(p.at), s.notices[0].Attempt)
		}
		last := s.notices[len(s.notices)-1]
		if last.Attempt == nil || last.Attempt.Result != "done" || last.Attempt.N != len(p.at) {
			t.Errorf("last %+v", last.Attempt)
		}
	})
}

// The trouble is over before anybody could be told: the trigger is dropped, the resolve goes out for what an
// earlier process may have opened.
func TestResolveCancelsUnsentTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pager{down: &remediations.Transient{Err: errors.New("no network")}}
		h, s := pageRoom(t, p)
		h.Notify(notice("t", "trigger", "k"))
		h.Notify(notice("u1", "update", "k"))
		h.Notify(notice("u2", "update", "k"))
		time.Sleep(time.Second)
		p.set(func(p *pager) { p.down = nil })
		h.Notify(notice("r", "resolve", "k"))
		synctest.Wait()
		if got := s.ends(); got != "r=sent t=cancelled u1=cancelled u2=cancelled" || p.got() != "t r" {
			t.Errorf("ends %s, told %s", got, p.got())
		}
	})
}

func TestNewerUpdateReplacesWaitingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pager{slow: time.Second}
		h, s := pageRoom(t, p)
		h.Notify(notice("t", "trigger", "k"))
		synctest.Wait()
		h.Notify(notice("u1", "update", "k"))
		h.Notify(notice("u2", "update", "k"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := s.ends(); got != "t=sent u1=cancelled u2=sent" || p.got() != "t u2" {
			t.Errorf("ends %s, told %s", got, p.got())
		}
	})
}

func TestNoticeEnds(t *testing.T) {
	f := func(p act.Pager, wait time.Duration, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h, s := pageRoom(t, p)
			h.Notify(notice("t", "trigger", "k"))
			time.Sleep(wait)
			synctest.Wait()
			if got := s.ends(); got != want {
				t.Errorf("ends %q, want %q", got, want)
			}
		})
	}
	f(nil, 0, "t=no_channel")
	f(&pager{down: &remediations.Permanent{Err: errors.New("400"), Status: 400}}, 0, "t=failed")
	f(&pager{down: fmt.Errorf("wrapped: %w", &remediations.Unknown{Err: errors.New("time-out")})}, 23*time.Hour, "")
	f(&pager{down: errors.New("of no known type")}, 25*time.Hour, "t=failed")
}

// After a restart the numbers of the attempts go on: the record keeps one attempt per number.
func TestNoticeAttemptsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := pageRoom(t, &pager{})
		n := notice("t", "trigger", "k")
		n.Attempts = []core.Attempt{{N: 1}, {N: 2}}
		h.Notify(n)
		synctest.Wait()
		if len(s.notices) != 1 || s.notices[0].Attempt.N != 3 {
			t.Errorf("outcomes %+v", s.notices)
		}
	})
}
