package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// page is a terminal that can be read while it is written.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

func TestTheStoryFollowsTheTimelineWithoutRepeating(t *testing.T) {
	began := time.Now()
	asked := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after := r.URL.Query().Get("after")
		select {
		case asked <- after:
		default:
		}
		line := func(seq int, at time.Time, text string) string {
			return fmt.Sprintf(`{"at":%q,"kind":"decision","sentence":%q,"seq":%d,"subject":{"site":"fra","service":"checkout"}}`,
				at.Format(time.RFC3339Nano), text, seq)
		}
		switch after {
		case "": // the newest lines, one of them of an earlier run
			_, _ = fmt.Fprintf(w, "[%s,%s]", line(3, began.Add(-time.Hour), "old"), line(4, began.Add(time.Second), "first"))
		case "4":
			_, _ = fmt.Fprintf(w, "[%s]", line(9, began.Add(2*time.Second), "second"))
		default:
			_, _ = fmt.Fprint(w, "[]")
		}
	}))
	defer srv.Close()
	out := &page{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); newStory(out, false).follow(ctx, srv.Client(), []string{srv.URL}, began) }()
	for _, want := range []string{"", "4", "9"} {
		if got := <-asked; got != want {
			t.Errorf("asked after %q, want %q", got, want)
		}
	}
	cancel()
	<-done
	srv.Client().CloseIdleConnections()
	text := out.String()
	if strings.Contains(text, "old") || strings.Count(text, "first") != 1 || strings.Count(text, "second") != 1 {
		t.Errorf("told:\n%s", text)
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colours without a terminal")
	}
}

// Three servers tell one story: when the one that is read dies the next one is read from where it was left.
func TestTheStoryGoesOnAtAServerThatLives(t *testing.T) {
	began := time.Now()
	server := func(self, leader string, lines map[string]string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/replicas" {
				_, _ = fmt.Fprintf(w, `{"leadership":{"self":%q,"leader":%q,"leads":%t,"quorum":true},"members":[]}`, self, leader, self == leader)
				return
			}
			text, ok := lines[r.URL.Query().Get("after")]
			if !ok {
				_, _ = fmt.Fprint(w, "[]")
				return
			}
			_, _ = fmt.Fprintf(w, `[{"at":%q,"kind":"action","sentence":%q,"seq":7}]`, began.Add(time.Second).Format(time.RFC3339Nano), text)
		}))
	}
	r1 := server("r1", "r1", map[string]string{"": "drain begun"})
	r2 := server("r2", "r2", map[string]string{"": "drain begun", "7": "drain done"})
	defer r2.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	out := &page{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); newStory(out, false).follow(ctx, client, []string{r1.URL, r2.URL}, began) }()
	told := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q is not told:\n%s", want, out)
			}
		}
	}
	told("r1 leads")
	r1.Close()
	told("drain done")
	told("r2 leads")
	cancel()
	<-done
	if text := out.String(); strings.Count(text, "drain begun") != 1 || strings.Count(text, "r1 leads") != 1 {
		t.Errorf("told:\n%s", text)
	}
}

// A replica that finds a majority again still takes the dead leader for the leader, until its time is over.
func TestTheStoryBelievesALeaderThatSaysSoItself(t *testing.T) {
	var mu sync.Mutex
	steps := []string{
		`"leader":"r1","quorum":true`, `"leader":"","quorum":false`, `"leader":"r1","quorum":true`, `"leader":"","quorum":true`,
		`"leader":"r2","leads":true,"quorum":true`,
	}
	at, asked := 0, 0
	r2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/replicas" {
			_, _ = fmt.Fprint(w, "[]")
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"leadership":{"self":"r2",%s},"members":[]}`, steps[at])
		if asked++; asked%2 == 0 { // twice each, in case that the story asks again
			at = min(at+1, len(steps)-1)
		}
	}))
	defer r2.Close()
	r1 := httptest.NewServer(http.NotFoundHandler())
	r1.Close() // dead
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	out := &page{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newStory(out, false).follow(ctx, client, []string{r1.URL, r2.URL}, time.Now())
	}()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), "r2 leads"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("told:\n%s", out)
		}
	}
	cancel()
	<-done
	text := out.String()
	if strings.Contains(text, "r1 leads") || strings.Count(text, "no majority at r2") != 1 || strings.Count(text, "nobody: ") != 1 {
		t.Errorf("told:\n%s", text)
	}
}

// What an operator or an agent wrote must not clear the screen of who follows the lab.
func TestTheStoryPrintsNoControlCharacters(t *testing.T) {
	out := &page{}
	s := newStory(out, false)
	s.line(time.Now(), plain, "command\x1b[1A", "brake on: \x1b[2J\u009b2J\r\a\u202edone, Grüße\nmore")
	text := out.String()
	if strings.ContainsAny(text, "\x1b\u009b\r\a\u202e") {
		t.Errorf("told %q", text)
	}
	for _, want := range []string{`\u001b[2J`, `\u009b2J`, "done, Grüße\n     "} {
		if !strings.Contains(text, want) {
			t.Errorf("told %q, without %q", text, want)
		}
	}
}

func TestQuietIsQuiet(t *testing.T) {
	out := &page{}
	s := newStory(out, true)
	s.say("hello")
	s.fault(time.Now(), "start", layout.Fault{Site: "fra", Kind: layout.Kill})
	if out.String() != "" {
		t.Error(out.String())
	}
}
