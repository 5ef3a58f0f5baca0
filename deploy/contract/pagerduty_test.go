package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations/pagerduty/pagerdutytest"
)

// routingKey is what must never be seen anywhere but in the body of an event.
const routingKey = "R0UT1NGKEYR0UT1NGKEYR0UT1NGKEY42"

// pager is PagerDuty's double behind an ear that keeps what it heard, and that quotes the routing key when asked to,
// as an echoing proxy would.
type pager struct {
	*pagerdutytest.Server
	url string

	mu     sync.Mutex
	heard  []string // action and dedup_key of every request
	echo   int      // answers of 400 that are left
	silent bool     // 503 for everything
}

func newPager(t *testing.T) *pager {
	t.Helper()
	p := &pager{Server: pagerdutytest.NewServer(routingKey)}
	p.url = serveHere(t, p)
	return p
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var e struct {
		Action string `json:"event_action"`
		Key    string `json:"dedup_key"`
	}
	_ = json.Unmarshal(raw, &e)
	p.mu.Lock()
	p.heard = append(p.heard, e.Action+" "+e.Key)
	refuse, down := p.echo > 0, p.silent
	if refuse {
		p.echo--
	}
	p.mu.Unlock()
	switch {
	case refuse:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":"invalid event","message":"no integration has the key %s","errors":["routing_key %s"]}`, routingKey, routingKey)
		return
	case down:
		http.Error(w, "maintenance", http.StatusServiceUnavailable)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	p.Server.ServeHTTP(w, r)
}

func (p *pager) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

func (p *pager) setSilent(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
}

func (p *pager) config() string {
	return fmt.Sprintf("notify:\n  - {type: pagerduty, routing_key: %q, url: %q, allow_private: true}", routingKey, p.url)
}

// alert is the only alert there is, if there is one.
func (p *pager) alert(t *testing.T) (pagerdutytest.Alert, bool) {
	t.Helper()
	all := p.Alerts()
	if len(all) > 1 {
		t.Fatalf("one trouble opened %d alerts: %+v", len(all), all)
	}
	if len(all) == 0 {
		return pagerdutytest.Alert{}, false
	}
	return all[0], true
}

// nowhere looks for the routing key in everything a person or a program can read.
func nowhere(t *testing.T, s *server, episodeID string) {
	t.Helper()
	look := func(where, text string) {
		t.Helper()
		if strings.Contains(text, routingKey) {
			t.Errorf("the routing key is in %s", where)
		}
	}
	look("the log", s.log.String())
	for _, path := range []string{
		"/metrics", "/api/v1/status", "/api/v1/episodes", "/api/v1/episodes/" + episodeID + "/notices", "/api/v1/actions",
		"/api/v1/episodes/" + episodeID + "/decisions", "/api/v1/timeline", "/readyz?verbose", "/prometheus/api/v1/series?match[]=%7Bsite%3D%22_server%22%7D",
	} {
		look(path, s.text(path))
	}
	out, code := s.cli("status")
	if code != 0 {
		t.Errorf("status: exit code %d: %s", code, out)
	}
	look("status", out)
	for _, p := range []string{"ledger", "store"} {
		err := filepath.WalkDir(filepath.Join(s.data, p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err == nil {
				look("the data directory, "+p, string(raw))
			}
			return nil //nolint:nilerr // a file that went away meanwhile holds nothing
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestAnEpisodeThatActsPagesUnderOneKey: PagerDuty is busy twice, then takes a trigger, updates and a resolve.
func TestAnEpisodeThatActsPagesUnderOneKey(t *testing.T) {
	t.Parallel()
	p := newPager(t)
	s, w, _, _ := stage(t, p.config())
	p.Fail(1, http.StatusTooManyRequests, 2*time.Second)
	p.Fail(1, http.StatusServiceUnavailable, 0)
	w.setDown("fra", true)

	var alert pagerdutytest.Alert
	until(t, "the trigger is taken after two refusals", func() bool {
		a, ok := p.alert(t)
		alert = a
		return ok
	})
	if alert.State != pagerdutytest.Open || alert.Severity != "error" || !strings.HasPrefix(alert.Log[0], "trigger ") {
		t.Errorf("the alert is %+v", alert)
	}
	refused := p.Refused()
	if len(refused) != 2 || !strings.HasPrefix(refused[0], "429") || !strings.HasPrefix(refused[1], "503") {
		t.Errorf("the double refused %q", refused)
	}
	until(t, "fra is drained", func() bool {
		all := s.actions()
		return len(all) > 0 && all[0].Plan == "drain" && all[0].State == "succeeded"
	})
	w.setDown("fra", false)
	until(t, "the alert is resolved", func() bool {
		a, ok := p.alert(t)
		alert = a
		return ok && a.State == pagerdutytest.Resolved
	})
	if n := len(alert.Log); n < 3 || !strings.HasPrefix(alert.Log[n-1], "resolve") {
		t.Errorf("trigger, updates and resolve are wanted, in this order: %q", alert.Log)
	}
	if alert.Notified != 1 {
		t.Errorf("people were woken %d times", alert.Notified)
	}
	all := s.episodes()
	if len(all) != 1 || all[0].ClosedAt == nil || !strings.HasSuffix(alert.DedupKey, all[0].ID) {
		t.Fatalf("episodes %+v, the alert's key is %s", all, alert.DedupKey)
	}
	for _, r := range p.requests() {
		if !strings.HasSuffix(r, " "+alert.DedupKey) {
			t.Errorf("a request has another key: %s", r)
		}
	}
	var notices []notice
	until(t, "every notice is settled on the record", func() bool {
		notices = s.notices(all[0].ID)
		return len(notices) >= 3 && !slices.ContainsFunc(notices, func(n notice) bool { return n.State == "pending" })
	})
	first, last := notices[0], notices[len(notices)-1]
	if first.Kind != "trigger" || first.State != "sent" || len(first.Attempts) != 3 {
		t.Errorf("the first notice is %+v, want a trigger sent at the third attempt", first)
	} else if first.Attempts[0].Status != 429 || first.Attempts[1].Status != 503 || first.Attempts[2].Status != 202 {
		t.Errorf("the attempts on record are %+v", first.Attempts)
	}
	if last.Kind != "resolve" || last.State != "sent" {
		t.Errorf("the last notice is %+v", last)
	}
	nowhere(t, s, all[0].ID)
	w.checkDoor()
}

// TestARefusalOfPagerDutyIsFinal: a 400 is not repeated, it stands on the record without the key it quotes, and the
// acting goes on.
func TestARefusalOfPagerDutyIsFinal(t *testing.T) {
	t.Parallel()
	p := newPager(t)
	s, w, _, _ := stage(t, p.config())
	p.mu.Lock()
	p.echo = 1
	p.mu.Unlock()
	w.setDown("fra", true)
	var first notice
	until(t, "the refusal is on the record", func() bool {
		all := s.episodes()
		if len(all) == 0 {
			return false
		}
		ns := s.notices(all[0].ID)
		if len(ns) == 0 {
			return false
		}
		first = ns[0]
		return first.State == "failed"
	})
	if len(first.Attempts) != 1 || first.Attempts[0].Status != 400 || first.Attempts[0].Result != "failed" {
		t.Errorf("the attempts on record are %+v", first.Attempts)
	}
	if !strings.Contains(first.Attempts[0].Detail, "no integration has the key [secret]") {
		t.Errorf("the record does not say what PagerDuty said: %q", first.Attempts[0].Detail)
	}
	until(t, "fra is drained all the same, and the update opens the alert", func() bool {
		all := s.actions()
		a, ok := p.alert(t)
		return ok && a.DedupKey == first.DedupKey && len(all) > 0 && all[0].State == "succeeded"
	})
	if got := s.counter("evenkeel_act_notices_total", `state="failed"`); got != 1 {
		t.Errorf("%g notices are counted as failed", got)
	}
	nowhere(t, s, s.episodes()[0].ID)
}

// TestAPendingPageSurvivesTheServer: killed while PagerDuty is away, the server delivers the same page in its next life.
func TestAPendingPageSurvivesTheServer(t *testing.T) {
	t.Parallel()
	p := newPager(t)
	s, w, _, text := stage(t, p.config())
	p.setSilent(true)
	w.setDown("fra", true)
	var pending notice
	until(t, "a page is pending and was tried", func() bool {
		all := s.episodes()
		if len(all) == 0 {
			return false
		}
		ns := s.notices(all[0].ID)
		if len(ns) == 0 {
			return false
		}
		pending = ns[0]
		return pending.State == "pending" && len(pending.Attempts) > 0
	})
	s.now.kill()
	p.setSilent(false)
	tried := len(p.requests())
	s.start(text)
	until(t, "the page is delivered", func() bool {
		a, ok := p.alert(t)
		return ok && a.DedupKey == pending.DedupKey
	})
	var after notice
	until(t, "its delivery is on the record", func() bool {
		after = s.notices(s.episodes()[0].ID)[0]
		return after.State == "sent"
	})
	if after.ID != pending.ID || after.Summary != pending.Summary || after.Kind != "trigger" {
		t.Errorf("another page was sent: %+v, want %+v", after, pending)
	}
	numbers := map[int]bool{}
	for _, a := range after.Attempts {
		if numbers[a.N] {
			t.Errorf("two attempts have the number %d: %+v", a.N, after.Attempts)
		}
		numbers[a.N] = true
	}
	if len(after.Attempts) <= len(pending.Attempts) || after.Attempts[0] != pending.Attempts[0] {
		t.Errorf("the attempts of the first life are lost: %+v, then %+v", pending.Attempts, after.Attempts)
	}
	a, _ := p.alert(t)
	triggers := 0
	for _, line := range a.Log {
		if line == "trigger "+pending.Summary {
			triggers++
		}
	}
	if triggers != 1 {
		t.Errorf("the page arrived %d times: %q (%d requests before the restart)", triggers, a.Log, tried)
	}
	nowhere(t, s, s.episodes()[0].ID)
}
