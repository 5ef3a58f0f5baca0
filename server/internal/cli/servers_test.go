package cli_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// nobody is an address that refuses connections.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return "http://" + ln.Addr().String()
}

// answering is a server that answers everything so, and counts.
func answering(t *testing.T, f http.HandlerFunc) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		f(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `{"type":"about:blank","title":"x","status":503,"code":"unavailable","detail":"the ledger does not answer"}`)
}

func TestReadsGoOnToTheNextServer(t *testing.T) {
	r := start(t)
	f := func(first string, says string) {
		t.Helper()
		out, warnings, err := run(t, "status", "--server", first+", "+r.url, "--timeout", "10s")
		if err != nil || !strings.Contains(out, "version 1.2.3") {
			t.Errorf("%s: %v: %s", says, err, out)
		}
		if strings.Count(warnings, "warning") != 1 || !strings.Contains(warnings, says) || !strings.Contains(warnings, "asking "+r.url) {
			t.Errorf("warnings are %q", warnings) // once: who answered is asked first from then on
		}
	}
	f(nobody(t), "connection refused")
	busy, _ := answering(t, unavailable)
	f(busy, "503")
	hung, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f(hung, "no answer within 5s")

	// With a path before ours, as behind a proxy.
	proxy, _ := answering(t, func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, r.url+strings.TrimPrefix(q.URL.Path, "/evenkeel"), http.StatusTemporaryRedirect)
	})
	if _, _, err := run(t, "status", "--server", proxy+"/evenkeel/"); err != nil {
		t.Error(err)
	}

	// The best there is: a server that says what is wrong.
	_, _, err := run(t, "status", "--server", busy+","+nobody(t))
	fails(t, err, 5, "the ledger does not answer")
	one, two := nobody(t), nobody(t)
	_, _, err = run(t, "status", "--server", one+","+two)
	fails(t, err, 5, "none of the servers answers: "+one+", "+two)
	for _, list := range []string{"", ",", one + ",", "ftp://x", one + ",x"} {
		_, _, err = run(t, "status", "--server", list)
		fails(t, err, 2, "no address of a server")
	}
	// A password in an address is not shown.
	_, warnings, err := run(t, "status", "--server", strings.Replace(one, "//", "//jo:hush@", 1)+","+two)
	if err == nil || strings.Contains(warnings+err.Error(), "hush") {
		t.Errorf("%v, %s", err, warnings)
	}
}

func TestOrdersAreNotRepeated(t *testing.T) {
	r := start(t)
	r.loop.reply = core.Reply{OK: true, Sentence: "done"}
	drain := func(list, patience string) error {
		t.Helper()
		_, _, err := run(t, "drain", "fra", "--reason", "x", "--server", list, "--data", r.data, "--timeout", patience)
		return err
	}
	// Nothing was sent: another may be asked.
	if err := drain(nobody(t)+","+r.url, "1m"); err != nil || len(r.loop.commands) != 1 {
		t.Errorf("%v, commands are %+v", err, r.loop.commands)
	}
	// It may have been taken: nobody else is asked.
	broken, asked := answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	fails(t, drain(broken+","+r.url, "1m"), 5, "it is not known whether "+broken+" took the order", "status")
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	hung, asked := answering(t, func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
	})
	began := time.Now()
	fails(t, drain(hung+","+r.url, "2s"), 5, "it is not known whether")
	if asked.Load() != 1 || time.Since(began) < 1500*time.Millisecond {
		t.Errorf("asked %d times, waited %s: an order has all the time there is", asked.Load(), time.Since(began))
	}
	busy, asked := answering(t, unavailable)
	fails(t, drain(busy+","+r.url, "1m"), 5, "the ledger does not answer")
	if asked.Load() != 1 || len(r.loop.commands) != 1 {
		t.Errorf("the order was repeated: %+v", r.loop.commands)
	}
	// The same for a bundle: a member added twice is no harm, but nobody knows.
	_, _, err := run(t, "replica", "add", "r2", "--out", filepath.Join(t.TempDir(), "b"), "--server", broken+","+r.url, "--data", r.data)
	fails(t, err, 5, "it is not known")
	if len(r.control.asked) != 0 {
		t.Errorf("asked %v", r.control.asked)
	}
}
