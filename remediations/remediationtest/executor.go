package remediationtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// Executor is an executor under test. It must be fresh: no command obeyed yet, the subject at 100 percent.
type Executor struct {
	URL       string
	Secrets   []string // every whsec_ secret it accepts
	ClusterID string   // a cluster it obeys; "c_nobody" must not be one
	Site      string   // a subject that it can move
	Service   string
	// Weight reads what the executor really does now, in percent of normal. Optional: without it only answers are
	// judged, and a refusal that acts all the same goes unseen.
	Weight func(t *testing.T) float64
	// Restart ends the executor as hard as it can, starts it again on its old state and returns the new URL.
	// Optional: without it that fencing survives a restart stays unproven.
	Restart func(t *testing.T) string
}

// TestExecutor runs the contract of an executor; newExecutor makes a fresh one for every part.
func TestExecutor(t *testing.T, newExecutor func(t *testing.T) Executor) {
	part := func(name string, f func(t *testing.T, x Executor)) {
		t.Run(name, func(t *testing.T) { f(t, newExecutor(t)) })
	}
	part("done", func(t *testing.T, x Executor) {
		x.done(t, x.drain(10, 50), 50)
		x.done(t, x.drain(11, 0), 0)
		restore := x.drain(12, 100)
		restore.Type, restore.Data.DesiredState = remediations.TypeRestore, remediations.DesiredActive
		x.done(t, restore, 100)
	})
	part("preflight tells the tokens and changes nothing", func(t *testing.T, x Executor) {
		ask := func() remediations.Standing {
			t.Helper()
			body, err := remediations.PreflightBody("c_nobody", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			m := &message{header: http.Header{}, body: body}
			m.sign(t, "preflight_1", time.Now(), x.Secrets[0])
			s, err := remediations.ParseStanding(x.want(t, m, http.StatusOK).raw)
			if err != nil {
				t.Fatal(err)
			}
			m.sign(t, "preflight_2", time.Now(), remediations.GenerateSecret())
			x.want(t, m, http.StatusUnauthorized)
			return s
		}
		if s := ask(); len(s.Subjects) != 0 {
			t.Errorf("a fresh executor holds %+v", s)
		}
		x.unmoved(t)
		x.done(t, x.drain(10, 50), 50)
		if got, want := ask().Highest(x.ClusterID), (remediations.Fencing{ClusterID: x.ClusterID, Epoch: x.drain(10, 50).Data.Fencing.Epoch, Seq: 10}); got != want {
			t.Errorf("it holds %+v, want %+v", got, want)
		}
		x.weighs(t, 50)
		x.done(t, x.drain(11, 0), 0)
	})
	part("every secret is accepted", func(t *testing.T, x Executor) {
		for i, s := range x.Secrets {
			r := x.drain(int64(20+i), 50)
			m := x.message(t, r)
			m.sign(t, r.ID, time.Now(), s)
			x.want(t, m, http.StatusOK, http.StatusAccepted)
		}
	})
	part("one good signature among others is enough", func(t *testing.T, x Executor) {
		r := x.drain(10, 50)
		m := x.message(t, r)
		m.sign(t, r.ID, time.Now(), remediations.GenerateSecret(), x.Secrets[0])
		m.header.Set(remediations.HeaderSignature, "v1a,bm90IG91cnM= "+m.header.Get(remediations.HeaderSignature))
		x.want(t, m, http.StatusOK, http.StatusAccepted)
	})
	x401 := func(name string, spoil func(t *testing.T, x Executor, r remediations.Request, m *message)) {
		part(name, func(t *testing.T, x Executor) {
			r := x.drain(10, 0)
			m := x.message(t, r)
			spoil(t, x, r, m)
			x.want(t, m, http.StatusUnauthorized)
			x.unmoved(t)
		})
	}
	x401("bad signature", func(t *testing.T, _ Executor, r remediations.Request, m *message) {
		m.sign(t, r.ID, time.Now(), remediations.GenerateSecret())
	})
	x401("no signature", func(_ *testing.T, _ Executor, _ remediations.Request, m *message) {
		m.header.Del(remediations.HeaderSignature)
	})
	x401("changed body", func(_ *testing.T, _ Executor, _ remediations.Request, m *message) {
		m.body = bytes.Replace(m.body, []byte(`"drained"`), []byte(`"drained" `), 1)
	})
	x401("changed id", func(_ *testing.T, _ Executor, _ remediations.Request, m *message) {
		m.header.Set(remediations.HeaderID, "act_other")
	})
	x401("old timestamp", func(t *testing.T, x Executor, r remediations.Request, m *message) {
		m.sign(t, r.ID, time.Now().Add(-10*time.Minute), x.Secrets[0])
	})
	x401("future timestamp", func(t *testing.T, x Executor, r remediations.Request, m *message) {
		m.sign(t, r.ID, time.Now().Add(10*time.Minute), x.Secrets[0])
	})
	part("expired", func(t *testing.T, x Executor) {
		r := x.drain(10, 0)
		r.Data.NotAfter = time.Now().Add(-time.Second)
		x.want(t, x.message(t, r), http.StatusGone)
		x.unmoved(t)
	})
	part("unknown cluster", func(t *testing.T, x Executor) {
		r := x.drain(10, 0)
		r.Data.Fencing.ClusterID = "c_nobody"
		x.rejected(t, x.message(t, r))
		x.unmoved(t)
	})
	part("not a command", func(t *testing.T, x Executor) {
		for _, text := range []string{"", "null", "[]", "{", `{"type":"action.site.drain"}`, `{"type":"action.site.explode","data":{}}`} {
			m := &message{header: http.Header{}, body: []byte(text)}
			m.sign(t, "act_odd", time.Now(), x.Secrets[0])
			x.rejected(t, m)
		}
		x.unmoved(t)
	})
	part("oversized", func(t *testing.T, x Executor) {
		m := x.message(t, x.drain(10, 0))
		m.body = append(m.body, strings.Repeat(" ", 1<<20)...)
		m.sign(t, "act_large", time.Now(), x.Secrets[0])
		x.rejected(t, m)
		x.unmoved(t)
	})
	part("stale", func(t *testing.T, x Executor) {
		x.done(t, x.drain(12, 50), 50)
		a := x.want(t, x.message(t, x.drain(11, 0)), http.StatusConflict)
		if a.Current != nil && a.Current.Seq != 12 {
			t.Errorf("the executor says its token is %d, want 12", a.Current.Seq)
		}
		x.weighs(t, 50)
	})
	part("stale epoch", func(t *testing.T, x Executor) {
		r := x.drain(5, 50)
		r.Data.Fencing.Epoch = 2
		x.done(t, r, 50)
		x.want(t, x.message(t, x.drain(1000, 0)), http.StatusConflict)
		x.weighs(t, 50)
	})
	part("repeat", func(t *testing.T, x Executor) {
		r := x.drain(10, 50)
		first := x.done(t, r, 50)
		again := x.done(t, r, 50)
		if first.State != again.State {
			t.Errorf("a repeat is answered %q, the first was %q", again.State, first.State)
		}
	})
	part("dry run", func(t *testing.T, x Executor) {
		r := x.drain(10, 0)
		r.Data.DryRun = true
		x.want(t, x.message(t, r), http.StatusOK)
		x.unmoved(t)
		x.done(t, x.drain(9, 50), 50) // a dry run moves no token
	})
	part("restart", func(t *testing.T, x Executor) {
		r := x.drain(12, 50)
		x.done(t, r, 50)
		if x.Restart == nil {
			t.Log("no Restart function: fencing over a restart was not tried")
			return
		}
		x.URL = x.Restart(t)
		x.want(t, x.message(t, x.drain(11, 0)), http.StatusConflict)
		x.done(t, r, 50)
	})
}

func (x Executor) drain(seq int64, weight int) remediations.Request {
	return Drain(x.ClusterID, x.Site, x.Service, seq, weight)
}

type message struct {
	header http.Header
	body   []byte
}

func (m *message) sign(t *testing.T, id string, at time.Time, secrets ...string) {
	t.Helper()
	parsed := make([]remediations.Secret, 0, len(secrets))
	for _, text := range secrets {
		s, err := remediations.ParseSecret(text)
		if err != nil {
			t.Fatalf("secret of the executor: %v", err)
		}
		parsed = append(parsed, s)
	}
	if err := remediations.Sign(m.header, id, at, m.body, parsed...); err != nil {
		t.Fatal(err)
	}
}

// message is the request as it goes over the wire, signed with the first secret.
func (x Executor) message(t *testing.T, r remediations.Request) *message {
	t.Helper()
	b, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	m := &message{header: http.Header{"Content-Type": {"application/json"}}, body: b}
	m.sign(t, r.ID, time.Now(), x.Secrets[0])
	return m
}

type answer struct {
	status  int
	raw     []byte
	State   string                `json:"state"`
	Current *remediations.Fencing `json:"current"`
}

func (x Executor) send(t *testing.T, m *message) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.URL, bytes.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = m.header
	c := http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		t.Fatalf("answer: %v", err)
	}
	a := answer{status: resp.StatusCode, raw: text}
	_ = json.Unmarshal(text, &a) // bodies of problems are free
	return a
}

func (x Executor) want(t *testing.T, m *message, statuses ...int) answer {
	t.Helper()
	a := x.send(t, m)
	if slices.Contains(statuses, a.status) {
		return a
	}
	t.Fatalf("answer %d, want %v", a.status, statuses)
	return a
}

// rejected wants a final no: a 4xx that does not ask to come again.
func (x Executor) rejected(t *testing.T, m *message) {
	t.Helper()
	switch s := x.send(t, m).status; {
	case s < 400 || s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		t.Fatalf("answer %d to %.40q, want a final 4xx", s, m.body)
	}
}

// done delivers until the executor says done, at most 30 s.
func (x Executor) done(t *testing.T, r remediations.Request, weight float64) answer {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a := x.want(t, x.message(t, r), http.StatusOK, http.StatusAccepted)
		if a.status == http.StatusOK {
			if a.State != remediations.StateDone.String() {
				t.Fatalf("answer 200 has state %q, want done", a.State)
			}
			x.weighs(t, weight)
			return a
		}
		if time.Now().After(end) {
			t.Fatal("accepted for 30 s, never done")
		}
	}
}

func (x Executor) unmoved(t *testing.T) { t.Helper(); x.weighs(t, 100) }

func (x Executor) weighs(t *testing.T, want float64) {
	t.Helper()
	if x.Weight == nil {
		return
	}
	if got := x.Weight(t); got != want {
		t.Errorf("the executor is at %v %%, want %v %%", got, want)
	}
}
