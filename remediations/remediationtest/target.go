package remediationtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// TestTarget runs the contract of a target that speaks the webhook of package remediations; newTarget makes one that
// sends to a plain http URL on a loopback address and signs with the secrets, newest first.
func TestTarget(t *testing.T, newTarget func(t *testing.T, url string, secrets ...string) remediations.Target) {
	t.Run("message", func(t *testing.T) { testMessage(t, newTarget) })
	t.Run("answers", func(t *testing.T) { testAnswers(t, newTarget) })
	t.Run("no answer", func(t *testing.T) { testNoAnswer(t, newTarget) })
}

// recorder keeps what an endpoint got.
type recorder struct {
	mu     sync.Mutex
	header []http.Header
	body   [][]byte
}

func (r *recorder) got() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.body)
}

// serve starts an endpoint that records and then answers by f.
func serve(t *testing.T, f http.HandlerFunc) (*recorder, string) {
	t.Helper()
	rec := &recorder{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		rec.mu.Lock()
		rec.header, rec.body = append(rec.header, r.Header.Clone()), append(rec.body, b)
		rec.mu.Unlock()
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return rec, s.URL
}

func testMessage(t *testing.T, newTarget func(t *testing.T, url string, secrets ...string) remediations.Target) {
	secrets := []string{remediations.GenerateSecret(), remediations.GenerateSecret()}
	rec, url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"state":"done","weight":50}`) })
	target := newTarget(t, url, secrets...)
	req := Drain("c_1", "fra", "checkout", 7, 50)
	for range 2 {
		rc, err := target.Do(t.Context(), req)
		if err != nil || rc.State != remediations.StateDone || rc.Weight == nil || *rc.Weight != 50 {
			t.Fatalf("receipt %+v, error %v; want done at 50", rc, err)
		}
	}
	if rec.got() != 2 {
		t.Fatalf("%d messages for two calls", rec.got())
	}
	if !bytes.Equal(rec.body[0], rec.body[1]) {
		t.Error("the second attempt has another body")
	}
	for _, text := range secrets {
		s, err := remediations.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := remediations.Verify(rec.header[0], rec.body[0], time.Now(), time.Minute, s); err != nil {
			t.Errorf("signature of one of the secrets: %v", err)
		}
	}
	got, err := remediations.ParseRequest(rec.header[0].Get(remediations.HeaderID), rec.body[0])
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(req) {
		t.Errorf("arrived as\n%+v\nwant\n%+v", got, req)
	}
	printed := fmt.Sprintf("%v %+v %#v %s", target, target, target, target)
	for _, text := range secrets {
		if strings.Contains(printed, strings.TrimPrefix(text, "whsec_")) {
			t.Error("the target prints its secret")
		}
	}
	bad := req
	bad.Data.Site = ""
	if _, err := target.Do(t.Context(), bad); !isPermanent(err) || rec.got() != 2 {
		t.Errorf("a request without a site: %v and %d messages, want *Permanent and none sent", err, rec.got()-2)
	}
}

func isTransient(err error) bool { var e *remediations.Transient; return errors.As(err, &e) }
func isPermanent(err error) bool { var e *remediations.Permanent; return errors.As(err, &e) }
func isUnknown(err error) bool   { var e *remediations.Unknown; return errors.As(err, &e) }

func testAnswers(t *testing.T, newTarget func(t *testing.T, url string, secrets ...string) remediations.Target) {
	secret := remediations.GenerateSecret()
	ask := func(t *testing.T, h http.HandlerFunc) (remediations.Receipt, error) {
		t.Helper()
		rec, url := serve(t, h)
		rc, err := newTarget(t, url, secret).Do(t.Context(), Drain("c_1", "fra", "checkout", 7, 0))
		if rec.got() != 1 {
			t.Errorf("%d messages for one call", rec.got())
		}
		return rc, err
	}
	state := func(status int, body string, want remediations.State) {
		t.Run(fmt.Sprintf("%d is %s", status, want), func(t *testing.T) {
			rc, err := ask(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) })
			if err != nil || rc.State != want || rc.Status != status {
				t.Errorf("receipt %+v, error %v; want %s", rc, err, want)
			}
		})
	}
	state(200, `{"state":"done"}`, remediations.StateDone)
	state(200, `ok`, remediations.StateDone)
	state(204, ``, remediations.StateDone)
	state(200, `{"state":"accepted"}`, remediations.StateAccepted)
	state(202, `{"state":"accepted"}`, remediations.StateAccepted)
	state(202, ``, remediations.StateAccepted)
	state(409, `{"error":"stale","current":{"cluster_id":"c_1","epoch":1,"seq":9}}`, remediations.StateStale)
	state(412, `{"refused_by":"last-site","detail":"the last one"}`, remediations.StateRefused)
	state(410, `{"error":"expired"}`, remediations.StateExpired)
	failure := func(status int, is func(error) bool) {
		t.Run(fmt.Sprintf("%d is no receipt", status), func(t *testing.T) {
			_, err := ask(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "/elsewhere") // following it would be a second message
				w.WriteHeader(status)
			})
			if !is(err) {
				t.Errorf("error %T %v", err, err)
			}
			var again *remediations.Transient
			if errors.As(err, &again) && again.RetryAfter != 7*time.Second {
				t.Errorf("retry after %s, want 7s", again.RetryAfter)
			}
		})
	}
	for _, s := range []int{301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422} {
		failure(s, isPermanent)
	}
	for _, s := range []int{408, 425, 429, 500, 503} {
		failure(s, isTransient)
	}
	for _, s := range []int{502, 504} {
		failure(s, isUnknown)
	}
	t.Run("oversized answer", func(t *testing.T) {
		_, err := ask(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"state":"done","detail":"`+strings.Repeat("x", 1<<20)+`"}`)
		})
		if !isUnknown(err) {
			t.Errorf("error %T %v, want *Unknown", err, err)
		}
	})
}

func testNoAnswer(t *testing.T, newTarget func(t *testing.T, url string, secrets ...string) remediations.Target) {
	secret := remediations.GenerateSecret()
	req := Drain("c_1", "fra", "checkout", 7, 0)
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		_ = l.Close()
		if _, err := newTarget(t, url, secret).Do(t.Context(), req); !isTransient(err) {
			t.Errorf("error %T %v, want *Transient", err, err)
		}
	})
	t.Run("silence after the request", func(t *testing.T) {
		arrived, release := make(chan struct{}), make(chan struct{})
		_, url := serve(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if _, err := newTarget(t, url, secret).Do(ctx, req); !isUnknown(err) {
			t.Errorf("error %T %v, want *Unknown", err, err)
		}
	})
	t.Run("break after the request", func(t *testing.T) {
		rec, url := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		if _, err := newTarget(t, url, secret).Do(t.Context(), req); !isUnknown(err) || rec.got() != 1 {
			t.Errorf("error %T %v after %d messages, want *Unknown after one", err, err, rec.got())
		}
	})
	t.Run("ended before it began", func(t *testing.T) {
		rec, url := serve(t, func(http.ResponseWriter, *http.Request) {})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := newTarget(t, url, secret).Do(ctx, req); err == nil || rec.got() != 0 {
			t.Errorf("error %v after %d messages, want an error and none", err, rec.got())
		}
	})
}
