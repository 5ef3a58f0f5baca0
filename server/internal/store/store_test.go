package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// both runs f against the embedded store and against a stock VictoriaMetrics in another process.
func both(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("embedded", func(t *testing.T) { f(t, shared) })
	t.Run("remote", func(t *testing.T) {
		s, err := Open(t.Context(), Options{URL: "http://" + remoteAddr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		f(t, s)
	})
}

func sample(name string, v float64, at time.Time, labels ...string) core.Sample {
	s := core.Sample{Name: name, Value: v, AtMS: at.UnixMilli()}
	for i := 0; i < len(labels); i += 2 {
		s.Labels = append(s.Labels, core.Label{Name: labels[i], Value: labels[i+1]})
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	if err == nil || core.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v (%s), want %s with %q", err, core.Code(err), code, text)
	}
}

// patience is how long a busy machine may take for what must come.
const patience = 2 * time.Minute

// eventually asks until ok or the deadline; the store makes samples visible by its own clock.
func eventually(t *testing.T, within time.Duration, ask func() (bool, string)) {
	t.Helper()
	var said string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ok, text := ask()
		if ok {
			return
		}
		said = text
	}
	t.Fatalf("not within %s: %s", within, said)
}

// seen asks our own store once, when what was appended is as old as it may get before the next question must see it: the
// promise counts from question to question, not on the clock of a busy machine.
func seen(t *testing.T, ask func() (bool, string)) {
	t.Helper()
	time.Sleep(flushEvery)
	if ok, text := ask(); !ok {
		t.Fatalf("not seen after %s: %s", flushEvery, text)
	}
}

func TestAppendedSamplesAreSeenSoon(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		start := time.Now()
		must(t, s.Append(t.Context(), []core.Sample{
			sample("seen_total", 7, start, "service", "checkout", "site", "fra"),
			sample("seen_total", 8, start, "service", "checkout", "site", "ams"),
		}))
		soon := seen
		if s.retention == 0 {
			soon = func(t *testing.T, ask func() (bool, string)) { eventually(t, patience, ask) } // by its own clock: about five seconds
		}
		soon(t, func() (bool, string) {
			got, err := s.Query(t.Context(), `seen_total{service="checkout"}`, time.Now(), 0)
			must(t, err)
			if len(got) != 2 {
				return false, fmt.Sprint(got)
			}
			byLabel := map[string]float64{}
			for _, x := range got {
				byLabel[x.Labels["__name__"]+x.Labels["site"]] = x.Value
			}
			return byLabel["seen_totalfra"] == 7 && byLabel["seen_totalams"] == 8, fmt.Sprint(got)
		})
	})
}

// VictoriaMetrics remembers for up to 11 s which series a filter matches; ours must not.
func TestNewSeriesOfKnownFilterAreSeenSoon(t *testing.T) {
	for n := 1; n <= 3; n++ {
		must(t, shared.Append(t.Context(), []core.Sample{sample("grows", 1, time.Now(), "n", strconv.Itoa(n))}))
		seen(t, func() (bool, string) {
			got, err := shared.Query(t.Context(), `count(grows)`, time.Now(), 0)
			must(t, err)
			return len(got) == 1 && got[0].Value == float64(n), fmt.Sprint(got)
		})
	}
}

func TestRangeHasOnlyPointsWithValues(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		end := time.Now().Truncate(time.Second)
		var in []core.Sample
		labels := []core.Label{{Name: "site", Value: "fra"}}
		for i := range 60 {
			if i >= 20 && i < 40 {
				continue // a hole
			}
			in = append(in, core.Sample{Name: "holes", Labels: labels, Value: float64(i), AtMS: end.Add(time.Duration(i-60) * time.Second).UnixMilli()})
		}
		must(t, s.Append(t.Context(), in))
		eventually(t, patience, func() (bool, string) {
			got, err := s.QueryRange(t.Context(), `last_over_time(holes[1s])`, end.Add(-60*time.Second), end.Add(-time.Second), time.Second)
			must(t, err)
			if len(got) != 1 || len(got[0].Values) != 40 {
				return false, fmt.Sprint(got)
			}
			for i, v := range got[0].Values {
				if want := end.Add(time.Duration(int(v)-60) * time.Second); !got[0].Times[i].Equal(want) {
					t.Fatalf("value %v at %s, want %s", v, got[0].Times[i], want)
				}
			}
			return got[0].Labels["site"] == "fra", fmt.Sprint(got)
		})
	})
}

// A question that is asked every ten seconds has the same answer live and when the past is read again: nothing of a series
// that ended, and one at each time of a series that is written more seldom than it is asked for.
func TestAQuestionThatIsAskedAgain(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		const step = 10 * time.Second
		end := time.Now().Truncate(step)
		var in []core.Sample
		for every, ended := range map[time.Duration]time.Duration{
			10 * time.Second: 2 * time.Minute, 15 * time.Second: 0, 30 * time.Second: 0, time.Minute: 0, 2 * time.Second: time.Minute,
		} {
			labels := []core.Label{{Name: "every", Value: every.String()}}
			for ago := 20 * time.Minute; ago >= ended; ago -= every {
				in = append(in, core.Sample{Name: "again", Labels: labels, Value: 1, AtMS: end.Add(-ago).UnixMilli()})
			}
		}
		must(t, s.Append(t.Context(), in))
		from := end.Add(-10 * time.Minute)
		var past map[string]bool
		eventually(t, patience, func() (bool, string) {
			got, err := s.QueryRange(t.Context(), "again", from, end, step)
			must(t, err)
			past = map[string]bool{}
			for _, r := range got {
				for _, at := range r.Times {
					past[r.Labels["every"]+" "+end.Sub(at).String()] = true
				}
			}
			return past["1m0s 0s"] && past["2s 1m0s"], fmt.Sprint(got)
		})
		live, once := map[string]bool{}, 0
		for at := from; !at.After(end); at = at.Add(step) {
			got, err := s.Query(t.Context(), "again", at, step)
			must(t, err)
			for _, x := range got {
				live[x.Labels["every"]+" "+end.Sub(at).String()] = true
				if !x.At.Equal(at) {
					t.Errorf("the value of %s is one of %s", at, x.At)
				}
			}
		}
		got, err := s.Query(t.Context(), "again", end, 0)
		must(t, err)
		once = len(got)
		if !maps.Equal(live, past) {
			t.Errorf("live\n%v\npast\n%v", live, past)
		}
		for ago := time.Duration(0); ago <= 10*time.Minute; ago += step {
			f := func(every string, want bool) {
				t.Helper()
				if live[every+" "+ago.String()] != want {
					t.Errorf("the series written every %s, %s ago: want %t", every, ago, want)
				}
			}
			f("15s", true)
			f("30s", true)
			f("1m0s", true)
			f("10s", ago > 2*time.Minute-15*time.Second)
			f("2s", ago > time.Minute-10*time.Second)
		}
		if once != 5 {
			t.Errorf("asked once there are %d series, want all 5 of the last five minutes", once)
		}
	})
}

func TestNoNumberIsNoAnswer(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		for _, expr := range []string{"vector(0)/0", "vector(1)/0", "absent_metric_of_ours", "vector(1) > 2"} {
			got, err := s.Query(t.Context(), expr, time.Now(), 0)
			must(t, err)
			if len(got) != 0 {
				t.Errorf("%s: got %v, want nothing", expr, got)
			}
		}
		got, err := s.Query(t.Context(), "vector(1+1)", time.Now(), 0)
		must(t, err)
		if len(got) != 1 || got[0].Value != 2 {
			t.Errorf("got %v, want 2", got)
		}
	})
}

func TestWrongQueriesAreInvalid(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		f := func(expr, text string) {
			t.Helper()
			_, err := s.Query(t.Context(), expr, time.Now(), 0)
			wantCode(t, err, core.CodeInvalid, text)
		}
		f("sum by (", "cannot be evaluated")
		f("nosuchfunction(x)", "cannot be evaluated")
		f("x[5m]", "range selector")
		f("x[5m:1s]", "range selector")
		f("", "cannot be evaluated")
		now := time.Now()
		_, err := s.QueryRange(t.Context(), "x", now, now.Add(-time.Second), time.Second)
		wantCode(t, err, core.CodeInvalid, "from <= to")
		_, err = s.QueryRange(t.Context(), "x", now, now, 0)
		wantCode(t, err, core.CodeInvalid, "at least 1 ms")
		_, err = s.QueryRange(t.Context(), "x", now.Add(-24*time.Hour), now, time.Second)
		wantCode(t, err, core.CodeTooLarge, "86401 points")
	})
}

func TestBadSamplesRefuseTheBatch(t *testing.T) {
	f := func(name string, bad core.Sample, text string) {
		t.Helper()
		good := sample("refused_good", 1, time.Now(), "case", name)
		wantCode(t, shared.Append(t.Context(), []core.Sample{good, bad}), core.CodeInvalid, text)
		got, err := shared.Query(t.Context(), `count({case="`+name+`"})`, time.Now(), 0)
		must(t, err)
		if len(got) != 0 {
			t.Errorf("%s: %v was stored", name, got)
		}
	}
	now := time.Now()
	f("nan", sample("refused", math.NaN(), now, "case", "nan"), "NaN")
	f("inf", sample("refused", math.Inf(-1), now, "case", "inf"), "infinite")
	f("old", sample("refused", 1, now.Add(-102*24*time.Hour), "case", "old"), "older than the retention")
	f("future", sample("refused", 1, now.Add(49*time.Hour), "case", "future"), "two days ahead")
	f("unnamed", sample("", 1, now, "case", "unnamed"), "no name")
	f("long", sample("refused", 1, now, "case", "long", "x", strings.Repeat("x", 70_000)), "32 KiB")
	must(t, shared.Append(t.Context(), nil))
}

func TestQueryGuardrails(t *testing.T) {
	var in []core.Sample
	for i := range 600 { // MaxSeries is 500 here
		in = append(in, sample("wide", 1, time.Now(), "i", strconv.Itoa(i)))
	}
	must(t, shared.Append(t.Context(), in))
	eventually(t, patience, func() (bool, string) {
		_, err := shared.Query(t.Context(), "sum(wide)", time.Now(), 0)
		return err != nil && core.Code(err) == core.CodeUnavailable, fmt.Sprint(err)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	be := shared.be.(*embedded)
	for range cap(be.readers) {
		be.readers <- struct{}{}
	}
	_, err := shared.Query(ctx, "vector(1)", time.Now(), 0)
	for range cap(be.readers) {
		<-be.readers
	}
	wantCode(t, err, core.CodeUnavailable, "gave up waiting")
}

func TestConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				must2(t, shared.Append(t.Context(), []core.Sample{sample("busy", float64(j), time.Now(), "i", strconv.Itoa(i))}))
				_, err := shared.Query(t.Context(), "count(busy)", time.Now(), 0)
				must2(t, err)
			}
		})
	}
	wg.Wait()
}

func must2(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestHandlerAnswersLikePrometheus(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		must(t, s.Append(t.Context(), []core.Sample{sample("asked", 42, time.Now(), "site", "fra")}))
		srv := httptest.NewServer(s.Handler())
		defer srv.Close()
		f := func(method, path string, form url.Values, want string) {
			t.Helper()
			eventually(t, patience, func() (bool, string) {
				status, kind, body := do(t, method, srv.URL+path, form)
				return status == 200 && strings.HasPrefix(kind, "application/") && strings.Contains(body, want), fmt.Sprint(status, kind, body)
			})
		}
		f("GET", "/prometheus/api/v1/query", url.Values{"query": {"asked"}}, `"42"`)
		f("POST", "/prometheus/api/v1/query", url.Values{"query": {"asked"}}, `"42"`)
		f("GET", "/prometheus/api/v1/query_range", url.Values{
			"query": {"asked"}, "start": {seconds(time.Now().Add(-time.Minute))}, "step": {"1s"},
		}, `"42"`)
		f("GET", "/prometheus/api/v1/series", url.Values{"match[]": {"asked"}}, `"site":"fra"`)
		f("GET", "/prometheus/api/v1/labels", nil, `"site"`)
		f("GET", "/prometheus/api/v1/label/site/values", nil, `"fra"`)
		f("GET", "/prometheus/api/v1/export", url.Values{"match[]": {"asked"}}, `[42`)
		f("GET", "/prometheus/api/v1/status/buildinfo", nil, `"version"`)
		f("GET", "/prometheus/api/v1/metadata", nil, `"success"`)
		f("GET", "/prometheus/api/v1/query_exemplars", nil, `[]`)
	})
}

func TestHandlerRefusesTheRest(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		must(t, s.Append(t.Context(), []core.Sample{sample("kept", 1, time.Now())}))
		srv := httptest.NewServer(s.Handler())
		defer srv.Close()
		f := func(method, path string, status int) {
			t.Helper()
			got, kind, body := do(t, method, srv.URL+path, nil)
			if got != status || kind != "application/problem+json" || !strings.Contains(body, `"detail"`) {
				t.Errorf("%s %s: got %d %s %s, want %d", method, path, got, kind, body, status)
			}
		}
		f("POST", "/prometheus/api/v1/admin/tsdb/delete_series?match[]=kept", 404)
		f("POST", "/prometheus/api/v1/write", 404)
		f("POST", "/prometheus/api/v1/import", 404)
		f("GET", "/prometheus/internal/force_flush", 404)
		f("GET", "/prometheus/snapshot/create", 404)
		f("GET", "/prometheus/api/v1/label/a/b/values", 404)
		f("GET", "/prometheus/api/v1/label/../values", 404)
		f("GET", "/api/v1/query?query=1", 404)
		f("GET", "/prometheus/metrics", 404)
		f("GET", "/prometheus/flags", 404)
		f("DELETE", "/prometheus/api/v1/series?match[]=kept", 405)
		f("PUT", "/prometheus/api/v1/query?query=1", 405)
		got, _, body := do(t, "GET", srv.URL+"/prometheus/api/v1/query?query=sum(", nil)
		if (got != 400 && got != 422) || !strings.Contains(body, `"status":"error"`) {
			t.Errorf("got %d %s, want 400 in Prometheus' form", got, body)
		}
		got, _, _ = do(t, "POST", srv.URL+"/prometheus/api/v1/query", url.Values{"query": {strings.Repeat("x", 2<<20)}})
		if got != 413 {
			t.Errorf("got %d for a form of 2 MiB, want 413", got)
		}
	})
}

func do(t *testing.T, method, target string, form url.Values) (status int, contentType, body string) {
	t.Helper()
	var in io.Reader
	if method == http.MethodPost {
		in = strings.NewReader(form.Encode())
	} else if form != nil {
		target += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, in)
	must(t, err)
	if in != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if origin := resp.Header.Get("Access-Control-Allow-Origin"); origin != "" {
		t.Errorf("%s %s lets any page read: %q", method, target, origin)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

func TestPartialAnswersAreErrors(t *testing.T) {
	f := func(status int, body, code, text string) {
		t.Helper()
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			must2(t, r.ParseForm())
			if r.Form.Get("nocache") != "1" || r.Form.Get("deny_partial_response") != "1" {
				t.Errorf("asked with %v", r.Form)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		defer srv.Close()
		s, err := Open(t.Context(), Options{URL: srv.URL})
		must(t, err)
		defer func() { _ = s.Close() }()
		_, err = s.Query(t.Context(), "x", time.Now(), 0)
		wantCode(t, err, code, text)
	}
	f(200, `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`, core.CodeUnavailable, "partial")
	f(200, `{"status":"error","error":"no"}`, core.CodeUnavailable, "cannot answer")
	f(200, `<html>`, core.CodeUnavailable, "not understood")
	f(200, `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"x"]}]}}`, core.CodeUnavailable, "not understood")
	f(503, ``, core.CodeUnavailable, "status 503")
	f(302, ``, core.CodeUnavailable, "status 302")
	f(400, `{"status":"error","error":"parse"}`, core.CodeInvalid, "parse")
}

func TestRemoteThatIsAway(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	s, err := Open(t.Context(), Options{URL: srv.URL})
	must(t, err)
	defer func() { _ = s.Close() }()
	wantCode(t, s.Ready(), core.CodeUnavailable, "does not answer")
	wantCode(t, s.Append(t.Context(), []core.Sample{sample("x", 1, time.Now())}), core.CodeUnavailable, "does not answer")
	_, err = s.Query(t.Context(), "x", time.Now(), 0)
	wantCode(t, err, core.CodeUnavailable, "does not answer")
}

func TestOpenSaysWhatToDo(t *testing.T) {
	f := func(o Options, code, text string) {
		t.Helper()
		_, err := Open(t.Context(), o)
		wantCode(t, err, code, text)
		if !strings.Contains(err.Error(), "(") {
			t.Errorf("%v has no hint", err)
		}
	}
	f(Options{}, core.CodeInvalid, "directory or a URL")
	f(Options{Dir: "x", URL: "http://x"}, core.CodeInvalid, "not both")
	f(Options{Dir: t.TempDir(), Retention: time.Hour}, core.CodeInvalid, "shorter than a day")
	f(Options{URL: "victoria:8428"}, core.CodeInvalid, "http or https")
	f(Options{URL: "ftp://victoria"}, core.CodeInvalid, "http or https")
	f(Options{Dir: t.TempDir()}, core.CodeConflict, "this process has an embedded store already")

	wantCode(t, preflight(sharedDir, minFreeBytes), core.CodeConflict, "in use by another process")
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	wantCode(t, preflight(filepath.Join(file, "sub"), minFreeBytes), core.CodeInvalid, "cannot make")
	wantCode(t, preflight(file, minFreeBytes), core.CodeInvalid, "cannot make")
	must(t, preflight(filepath.Join(t.TempDir(), "new", "deep"), minFreeBytes))
}

func TestReady(t *testing.T) {
	both(t, func(t *testing.T, s *Store) { must(t, s.Ready()) })
}

// Ready must answer while the store waits for a long query in order to close.
func TestReadyWaitsForNobody(t *testing.T) {
	be := shared.be.(*embedded)
	be.mu.RLock()
	closing := make(chan struct{})
	go func() {
		be.mu.Lock()
		be.mu.Unlock() //nolint:staticcheck // stands for close
		close(closing)
	}()
	eventually(t, patience, func() (bool, string) {
		err := shared.Ready()
		return err != nil && strings.Contains(err.Error(), "being closed"), fmt.Sprint(err)
	})
	be.mu.RUnlock()
	<-closing
	must(t, shared.Ready())
}

// A kill loses at most about six seconds of what was acknowledged; a second copy is refused before it can
// exit, and a restart finds the rest.
func TestKillLosesSixSecondsAtMost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "killed")
	start := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		return cmd, bufio.NewScanner(out)
	}
	cmd, lines := start()
	var last, lastMS int64
	began := time.Now()
	for lines.Scan() {
		_, _ = fmt.Sscan(lines.Text(), &last, &lastMS)
		if time.Since(began) > 9*time.Second {
			break
		}
	}
	second, out := start()
	if !out.Scan() || !strings.Contains(out.Text(), core.CodeConflict) || !strings.Contains(out.Text(), "in use by another process") {
		t.Errorf("a second copy said %q", out.Text())
	}
	_ = second.Wait()
	must(t, cmd.Process.Kill())
	for lines.Scan() { // what it still said
		_, _ = fmt.Sscan(lines.Text(), &last, &lastMS)
	}
	_ = cmd.Wait()
	if last < 100 {
		t.Fatalf("only %d samples were acknowledged", last)
	}

	vm := filepath.Join(filepath.Dir(sharedDir), "victoria-metrics")
	addr := "127.0.0.1:" + freePort(t)
	again := exec.Command(vm, "-storageDataPath="+dir, "-httpListenAddr="+addr, "-retentionPeriod=101d", "-loggerLevel=ERROR")
	must(t, again.Start())
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	s, err := Open(t.Context(), Options{URL: "http://" + addr})
	must(t, err)
	defer func() { _ = s.Close() }()
	eventually(t, patience, func() (bool, string) {
		if err := s.Ready(); err != nil {
			return false, err.Error()
		}
		got, err := s.Query(t.Context(), "max_over_time(child_total[5m])", time.Now(), 0)
		must(t, err)
		if len(got) == 0 {
			return false, "nothing there"
		}
		lost := float64(last) - got[0].Value
		t.Logf("acknowledged %d, lost the last %.0f (10 ms apart)", last, lost)
		return lost <= 700, fmt.Sprint(lost, " lost")
	})
}

// ports walks through those of this package from anywhere on: no two of its tests have the same.
var ports = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32())
	return &p
}()

// freePort is a port that neither a connection (from 32768 on) nor a lab under test (from 20000 on) takes meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 200 {
		port := strconv.Itoa(8000 + int(ports.Add(1)%2000))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			must(t, l.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
