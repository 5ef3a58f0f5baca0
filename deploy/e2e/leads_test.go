package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// leads is the record of who said when that it leads. Every replica is asked all the time, at its own place, so that no
// cut is in the way.
type leads struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu   sync.Mutex
	list []lead
}

// lead is one leadership.
type lead struct {
	place string
	since time.Time // when the leader began it
	asked time.Time // newest question that it answered with yes
}

const askEvery = 100 * time.Millisecond

func watchLeads(c *control) *leads {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leads{cancel: cancel}
	for _, r := range c.nodes {
		dial := c.n.Dial(r.place)
		transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return dial(ctx, network, addr)
		}}
		client := &Client{URL: r.URL, http: &http.Client{Transport: transport, Timeout: time.Second}}
		l.all.Go(func() {
			defer transport.CloseIdleConnections()
			for rest(ctx, askEvery) {
				asked := time.Now()
				s, err := get[struct {
					Leadership standing `json:"leadership"`
				}](ctx, client, "/status")
				if err == nil && s.Leadership.Leads {
					l.note(lead{r.place, s.Leadership.Since, asked})
				}
			}
		})
	}
	return l
}

func (l *leads) close() {
	l.cancel()
	l.all.Wait()
}

func (l *leads) note(said lead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(o lead) bool { return o.place == said.place && o.since.Equal(said.since) })
	if i < 0 {
		l.list = append(l.list, said)
		slices.SortStableFunc(l.list, func(a, b lead) int { return a.since.Compare(b.since) })
		return
	}
	l.list[i].asked = said.asked
}

// at is the leadership at a time, which is that of the newest leader; a zero one when there was none yet.
func (l *leads) at(when time.Time) lead {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(o lead) bool { return o.since.After(when) })
	switch {
	case i < 0 && len(l.list) > 0:
		return l.list[len(l.list)-1]
	case i <= 0:
		return lead{}
	}
	return l.list[i-1]
}

// overlap says which leader still said that it leads when the next one had begun: it was asked after that.
func (l *leads) overlap() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, next := range l.list[min(1, len(l.list)):] {
		if last := l.list[i]; last.asked.After(next.since) {
			return fmt.Errorf("%s leads since %s and said so at %s, %s leads since %s", last.place, clock(last.since), clock(last.asked),
				next.place, clock(next.since))
		}
	}
	return nil
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

// foreign says which command had an effect and was not sent by the one that led when it came. What a person sends past
// the servers is his own. Nor is a command without an effect held against the sender: one that was asleep between its
// last look and the sending is refused by its token, or repeats what is done.
func (l *leads) foreign(calls []Call, placeOf func(addr string) string) error {
	var errs []error
	for _, c := range calls {
		if leader := l.at(c.Arrived); c.Effective && !strings.HasPrefix(c.ActionID, "bg_") && leader.place != placeOf(c.From) {
			errs = append(errs, fmt.Errorf("at %s came %s from %s, %s leads since %s", clock(c.Arrived), c.ID, placeOf(c.From),
				leader.place, clock(leader.since)))
		}
	}
	return errors.Join(errs...)
}

// TestTheWatchOfLeadersCanFail: two leaders at the same time, and a command of one that does not lead, are noticed.
func TestTheWatchOfLeadersCanFail(t *testing.T) {
	second := func(n int) time.Time { return time.Unix(int64(n), 0) }
	f := func(overlaps, foreign bool, call Call, said ...lead) {
		t.Helper()
		l := &leads{}
		for _, s := range said {
			l.note(s)
		}
		if err := l.overlap(); (err != nil) != overlaps {
			t.Errorf("%v: overlap: %v", said, err)
		}
		if err := l.foreign([]Call{call}, func(addr string) string { return addr }); (err != nil) != foreign {
			t.Errorf("%v: foreign: %v", said, err)
		}
	}
	from := func(place string, at int) Call {
		return Call{ID: "a_1", ActionID: "a", From: place, Arrived: second(at), Effective: true}
	}
	one, two := lead{"fra", second(10), second(19)}, lead{"ams", second(20), second(30)}
	f(false, false, from("fra", 15), one, two)
	f(false, false, from("ams", 25), two, one)
	f(false, true, from("fra", 25), one, two)
	f(false, true, from("fra", 5), one, two)
	f(false, true, from("fra", 5))
	f(true, false, from("fra", 15), one, two, lead{"fra", second(10), second(21)})
	refused := from("fra", 25)
	refused.Effective = false
	f(false, false, refused, one, two)
}
