package controlextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/evenkeel/evenkeel/agent/internal/deadman"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
	"github.com/evenkeel/evenkeel/remediations/pagerduty/pagerdutytest"
)

const pageKey = "0123456789abcdef0123456789ABCDEF"

func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pd.key")
	if err := os.WriteFile(path, []byte(pageKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pagerDuty(t *testing.T) (*pagerdutytest.Server, string) {
	t.Helper()
	double := pagerdutytest.NewServer(pageKey)
	s := httptest.NewServer(double)
	t.Cleanup(s.Close)
	return double, s.URL
}

// mute answers heartbeats with a status and a body that can be changed.
type mute struct {
	*httptest.Server
	status atomic.Int32
	body   atomic.Value
}

func (m *mute) say(status int32, body string) {
	m.body.Store(body)
	m.status.Store(status)
}

const (
	wellReceived = `{"t2_unix_ns":1,"t3_unix_ns":1}`
	unauthorized = `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"the token is not known","code":"unauthorized"}`
)

func speak(t *testing.T, status int32, body string) *mute {
	t.Helper()
	m := &mute{}
	m.say(status, body)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost { // a topology is asked for
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ := m.body.Load().(string)
		w.WriteHeader(int(m.status.Load()))
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(m.Close)
	return m
}

// armed starts a control with a switch that pages after 300 ms, and stops it at the end of the test or by stop.
func armed(t *testing.T, dir, pd string, v *vitals.Vitals, servers ...string) (log *observer.ObservedLogs, stop func()) {
	t.Helper()
	return armedFor(t, 300*time.Millisecond, dir, pd, v, servers...)
}

// armedFor is armed with a switch that pages after a time.
func armedFor(t *testing.T, after time.Duration, dir, pd string, v *vitals.Vitals, servers ...string) (log *observer.ObservedLogs, stop func()) {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoints, cfg.Site, cfg.Role, cfg.Directory = servers, "fra", RoleSite, dir
	cfg.Heartbeat = 20 * time.Millisecond
	cfg.Page.KeyFile, cfg.Page.URL = keyFile(t), pd
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Page.After = after // an operator may not
	core, log := observer.New(zapcore.DebugLevel)
	c := newControl(zap.New(core), cfg, "test", &topology.Board{}, v)
	if err := c.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := c.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		for _, e := range log.All() {
			if line, err := json.Marshal(e.ContextMap()); err != nil || strings.Contains(e.Message+string(line), pageKey) {
				t.Errorf("the key is in the log, or %v: %s %s", err, e.Message, line)
			}
		}
	}
	t.Cleanup(stop)
	return log, stop
}

func one(t *testing.T, double *pagerdutytest.Server) pagerdutytest.Alert {
	t.Helper()
	alerts := double.Alerts()
	if len(alerts) != 1 || len(double.Refused()) != 0 {
		t.Fatalf("alerts %+v, refused %v", alerts, double.Refused())
	}
	return alerts[0]
}

func TestServersThatDoNotWorkArePagedAndClosed(t *testing.T) {
	f := func(status int32, body, about, summary string) {
		t.Helper()
		double, pd := pagerDuty(t)
		dir, v := t.TempDir(), vitals.New()
		m, other := speak(t, status, body), speak(t, 503, "")
		log, stop := armed(t, dir, pd, v, m.URL, other.URL)
		eventually(t, "an alert", func() bool { return len(double.Alerts()) == 1 })
		if a := one(t, double); !strings.Contains(a.DedupKey, ":"+about+":servers-") || !strings.Contains(a.Summary, summary) {
			t.Errorf("%d %s: alert %+v", status, body, a)
		}
		eventually(t, "the page on record", func() bool { r, _ := deadman.Load(dir); return !r[about].Said.IsZero() })
		m.say(200, wellReceived)
		eventually(t, "the alert closed", func() bool { return one(t, double).State == pagerdutytest.Resolved })
		eventually(t, "nothing on record", func() bool { r, err := deadman.Load(dir); return r == nil && err == nil })
		stop()
		if log.FilterMessage("the dead man's switch is on").Len() != 1 || log.FilterMessage("PagerDuty was told").Len() != 2 {
			t.Errorf("log: %v", log.All())
		}
		for _, action := range []string{"trigger", "resolve"} {
			kinds, counts := v.Pages()
			for i, k := range kinds {
				if k == (vitals.Page{About: about, Action: action, Result: pageAccepted}) && counts[i] != 1 {
					t.Errorf("counted %v: %d", k, counts[i])
				}
			}
			if len(kinds) != 8 {
				t.Errorf("%d counters", len(kinds))
			}
		}
		if on, ok := v.Armed(); !on || !ok {
			t.Error("it does not say that it is armed")
		}
	}
	f(503, `{"status":503,"code":"unavailable"}`, "no-server", "None of the 2 Evenkeel servers answers")
	f(401, "<h1>Sign in</h1>", "no-server", "None of the 2")
	f(200, "<h1>Welcome to the hotel</h1>", "no-server", "None of the 2")
	f(401, unauthorized, "locked-out", "refuses the agent at fra")
	f(403, strings.ReplaceAll(unauthorized, "401", "403"), "locked-out", "evenkeel-server token create")
}

func TestOneServerOfThreeIsEnough(t *testing.T) {
	double, pd := pagerDuty(t)
	m := speak(t, 200, wellReceived)
	const after = 3 * time.Second // a busy machine answers in less
	armedFor(t, after, t.TempDir(), pd, vitals.New(), "http://127.0.0.1:1", speak(t, 503, "").URL, m.URL)
	began := time.Now()
	eventually(t, "the time of the others is over", func() bool { return time.Since(began) > after+time.Second })
	if len(double.Alerts()) != 0 {
		t.Errorf("alerts %+v", double.Alerts())
	}
	m.say(503, "")
	eventually(t, "an alert", func() bool { return len(double.Alerts()) == 1 })
}

func TestARestartedAgentClosesTheAlert(t *testing.T) {
	double, pd := pagerDuty(t)
	dir, m := t.TempDir(), speak(t, 503, "")
	_, stop := armed(t, dir, pd, vitals.New(), m.URL)
	eventually(t, "the page on record", func() bool { r, _ := deadman.Load(dir); return !r["no-server"].Said.IsZero() })
	stop()
	m.say(200, wellReceived)
	armed(t, dir, pd, vitals.New(), m.URL)
	eventually(t, "the alert closed", func() bool { return one(t, double).State == pagerdutytest.Resolved })
}

func TestOneIncidentForAllAgentsOfACluster(t *testing.T) {
	double, pd := pagerDuty(t)
	for i, servers := range [][]string{{"http://127.0.0.1:1"}, {"http://127.0.0.1:1", "http://127.0.0.1:2"}} {
		dir := t.TempDir()
		state := `{"cluster_id":"c_7f3a","epoch":1,"revision":1,"site":"fra","probes":[]}`
		if err := topology.Keep(dir, []byte(state)); err != nil {
			t.Fatal(err)
		}
		armed(t, dir, pd, vitals.New(), servers...)
		eventually(t, "its word", func() bool { a := double.Alerts(); return len(a) > 0 && len(a[0].Log) == i+1 })
	}
	if a := one(t, double); a.DedupKey != "evenkeel:_server:no-server:c_7f3a" || a.Notified != 1 {
		t.Errorf("alert %+v", a)
	}
}

func TestWithoutAKeyNobodyIsPaged(t *testing.T) {
	core, log := observer.New(zapcore.InfoLevel)
	dir, v := t.TempDir(), vitals.New()
	if err := deadman.Keep(dir, deadman.Record{"no-server": {Key: "k", Open: true}}); err != nil {
		t.Fatal(err)
	}
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoints, cfg.Site, cfg.Role, cfg.Directory = []string{"http://127.0.0.1:1"}, "fra", RoleSite, dir
	c := newControl(zap.New(core), cfg, "test", &topology.Board{}, v)
	if err := c.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if log.FilterMessageSnippet("the dead man's switch is off").Len() != 1 || log.FilterMessageSnippet("closed by hand").Len() != 1 {
		t.Errorf("log: %v", log.All())
	}
	if on, ok := v.Armed(); on || !ok {
		t.Error("it does not say that it is off")
	}
}

// What an attempt that failed leaves on record: an alert that may be open, or none.
func TestWhatIsKnownOfAnAttempt(t *testing.T) {
	f := func(pd http.HandlerFunc, open bool) {
		t.Helper()
		s := httptest.NewServer(pd)
		url := s.URL
		if pd == nil {
			s.Close()
		} else {
			defer s.Close()
		}
		dir, v := t.TempDir(), vitals.New()
		_, stop := armed(t, dir, url, v, "http://127.0.0.1:1")
		eventually(t, "an attempt", func() bool {
			kinds, counts := v.Pages()
			failed := int64(0)
			for i, k := range kinds {
				if k.Result == pageFailed {
					failed += counts[i]
				}
			}
			return failed == 1
		})
		stop()
		r, err := deadman.Load(dir)
		if e := r["no-server"]; err != nil || e.Open != open || !e.Said.IsZero() {
			t.Errorf("record %+v, want open %v, %v", r, open, err)
		}
	}
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	f(nil, false) // nobody listens
	f(answer(400), false)
	f(answer(429), false)
	f(answer(302), false)
	f(answer(500), true)
	f(answer(200), true) // somebody else spoke
	f(func(_ http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	}, true)
}

func TestJudge(t *testing.T) {
	f := func(status int, body string, want deadman.Outcome, words string) {
		t.Helper()
		o, _, why := judge(status, []byte(body))
		if o != want || !strings.Contains(why, words) || (why == "") != (o == deadman.Answered) {
			t.Errorf("%d %s: %v %q", status, body, o, why)
		}
	}
	f(200, wellReceived, deadman.Answered, "")
	f(200, `{}`, deadman.Silent, "not the expected JSON")
	f(200, `<html>`, deadman.Silent, "not the expected JSON")
	f(204, ``, deadman.Silent, "204")
	f(302, ``, deadman.Silent, "302")
	f(401, unauthorized, deadman.Refused, "the token is not accepted")
	f(403, unauthorized, deadman.Silent, "not in Evenkeel's words")
	f(401, `{"error":"login"}`, deadman.Silent, "not in Evenkeel's words")
	f(429, `{"status":429,"code":"unavailable","detail":"too many\nrequests"}`, deadman.Refused, "429: too many requests")
	f(400, `{"status":400,"code":"invalid","detail":"`+strings.Repeat("x", 500)+`"}`, deadman.Refused, strings.Repeat("x", 200)+"...")
	f(500, `{"status":500,"code":"internal"}`, deadman.Silent, "500")
	f(503, `{"status":503,"code":"unavailable"}`, deadman.Silent, "503")
}

func FuzzJudge(f *testing.F) {
	f.Add(200, []byte(wellReceived))
	f.Add(401, []byte(unauthorized))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o, r, why := judge(status, body)
		switch {
		case o == deadman.Answered && (r.T2 <= 0 || r.T3 <= 0 || why != "" || status != 200),
			o == deadman.Refused && (status < 400 || status > 499),
			o != deadman.Answered && why == "", len([]rune(why)) > 400:
			t.Fatalf("%d %q is %v %+v %q", status, body, o, r, why)
		}
	})
}

func TestNoAnswerSaysWhy(t *testing.T) {
	f := func(handler http.HandlerFunc, want string) {
		t.Helper()
		s := httptest.NewServer(handler)
		if handler == nil {
			s.Close()
		} else {
			defer s.Close()
		}
		client := http.Client{Timeout: time.Minute}
		if want == "no answer in time" {
			client.Timeout = 100 * time.Millisecond
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(req)
		if err == nil {
			_ = answer.Body.Close()
			t.Fatal("it answered")
		}
		if got := noAnswer(err).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		client.CloseIdleConnections()
	}
	f(nil, "no answer: connection refused")
	f(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time")
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer: EOF")
	if got := noAnswer(fmt.Errorf("a: %w", errors.New("b\x00"))).Error(); got != "no answer: b " {
		t.Errorf("%q", got)
	}
}
