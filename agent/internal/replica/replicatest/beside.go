package replicatest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// exporter is another maker's way to tell the lag.
type exporter struct {
	name   string
	url    string
	metric string
	copies []*Copy
	said   []saying
	failed int
}

// saying is one answer, asked between two moments.
type saying struct {
	span
	lag time.Duration
	ok  bool // a lag was told
}

// Beside compares an exporter of another maker, which is started with the arguments and told by the environment where to look,
// in the same run; one that takes its listen address from the arguments finds it as LISTEN in them. Of what it exports the
// first series of the metric counts, in seconds. It does nothing unless TRUTH_BESIDE is 1.
func (tr *Truth) Beside(program, metric string, args, env []string, copies ...*Copy) {
	t := tr.t
	t.Helper()
	if os.Getenv("TRUTH_BESIDE") != "1" {
		return
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed: run deploy/setup.sh truth", program)
	}
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "LISTEN", address)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = Child(nil, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	e := &exporter{name: strings.TrimPrefix(program, "prometheus-"), url: "http://" + address + "/metrics", metric: metric, copies: copies}
	Until(t, program+" exports "+metric, func() bool {
		lag, ok, err := e.scrape(context.Background())
		return err == nil && ok && lag >= 0
	})
	tr.beside = append(tr.beside, e)
}

// ask scrapes twice a second, and without much of a rest on alert.
func (e *exporter) ask(ctx context.Context, alert *atomic.Bool) {
	for ctx.Err() == nil {
		began := time.Now()
		lag, ok, err := e.scrape(context.WithoutCancel(ctx))
		if err != nil {
			e.failed++
		}
		e.said = append(e.said, saying{span{began, time.Now()}, lag, ok && err == nil})
		if alert.Load() {
			Sleep(ctx, brief)
			continue
		}
		Sleep(ctx, 500*time.Millisecond)
	}
}

func (e *exporter) scrape(ctx context.Context) (time.Duration, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, http.NoBody)
	if err != nil {
		return 0, false, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := client.Do(q)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = a.Body.Close() }()
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		text := lines.Text()
		rest, ok := strings.CutPrefix(text, e.metric)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(text[strings.LastIndexByte(text, ' ')+1:], 64)
		if err != nil || v != v { // not a number is no lag
			continue
		}
		return time.Duration(v * float64(time.Second)), true, nil
	}
	return 0, false, lines.Err()
}

// line is one row of the comparison.
type line struct {
	samples, near, close, zero, silent, late int
	most                                     time.Duration
}

// add counts one figure, which may be absent, against a true lag that is enclosed.
func (l *line) add(lag time.Duration, ok bool, least, most time.Duration) {
	l.samples++
	if least > time.Second {
		l.late++
		switch {
		case !ok:
			l.silent++
		case lag < 10*time.Millisecond:
			l.zero++
		}
	}
	if !ok {
		return
	}
	off := max(least-lag, lag-most, 0)
	l.most = max(l.most, off)
	if off <= 100*time.Millisecond {
		l.near++
	}
	if off <= time.Second {
		l.close++
	}
}

// print prints the line as figures; whole: with those of late samples.
func (l *line) print(t *testing.T, name string, whole bool) {
	t.Helper()
	if l.samples == 0 {
		t.Errorf("%s: no samples", name)
		return
	}
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
	figures := []struct {
		name  string
		value float64
		unit  string
	}{
		{"samples", float64(l.samples), "samples"},
		{"within_100ms", share(l.near, l.samples), "%"},
		{"within_1s", share(l.close, l.samples), "%"},
		{"error_max", l.most.Seconds(), "s"},
		{"late", float64(l.late), "samples"},
		{"late_said_0", share(l.zero, l.late), "%"},
		{"late_said_nothing", share(l.silent, l.late), "%"},
	}
	if !whole {
		figures = figures[:4]
	}
	for _, f := range figures {
		figure(t, name, f.name, f.value, f.unit)
	}
}

// figure prints one as the benches do, behind a word by which make truth finds it.
func figure(t *testing.T, subject, name string, value float64, unit string) {
	t.Helper()
	t.Logf("figure lag_%s_%s %.5g %s", strings.NewReplacer(" ", "_", ",", "", "-", "_").Replace(subject), name, value, unit)
}

// compare prints each subject and exporter, one figure a line. Of our bounds the figure is the middle, and of a link that is
// down and has no upper bound the lower one; it is taken at the exporters' times.
func (tr *Truth) compare() {
	t := tr.t
	t.Helper()
	if len(tr.beside) == 0 {
		return
	}
	for _, s := range tr.subject {
		var l parts
		next := 0
		for _, say := range tr.beside[0].said {
			for next < len(s.seen) && s.seen[next].At.Before(say.ended) {
				next++
			}
			if next == len(s.seen) {
				break
			}
			r := s.seen[next]
			least, most, ok := s.lag(r.At)
			if !ok {
				continue
			}
			lag := r.Lower.V
			if r.Upper.OK {
				lag = (r.Lower.V + r.Upper.V) / 2
			}
			l[tr.part(r.At)].add(lag, r.Lower.OK, least, most)
		}
		l.print(t, "evenkeel "+s.name)
	}
	for _, e := range tr.beside {
		var l parts
		for _, say := range e.said {
			least, most, ok := lag(e.copies, say.ended)
			from, to, known := lag(e.copies, say.began)
			if ok && known {
				// It answered at some moment of the scrape: any of the lags is right.
				l[tr.part(say.ended)].add(say.lag, say.ok, min(least, from), max(most, to))
			}
		}
		l.print(t, e.name)
		if e.failed > 0 {
			t.Logf("%s: %d scrapes failed", e.name, e.failed)
		}
	}
}
