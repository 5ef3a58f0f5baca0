package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// shared is the one embedded store of this test binary: VictoriaMetrics allows one per process.
var shared *Store

// sharedDir is where it lives.
var sharedDir string

// remoteAddr is a stock VictoriaMetrics in a process of its own.
var remoteAddr string

func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	flag.Parse() // or Open, which must have parsed flags, parses none
	os.Exit(run(m))
}

func run(m *testing.M) int {
	root, err := os.MkdirTemp("", "store-test-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	stop, err := startRemote(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	sharedDir = filepath.Join(root, "embedded")
	shared, err = Open(context.Background(), Options{
		Dir: sharedDir, Registry: prometheus.NewRegistry(), QueryTimeout: patience, MaxSeries: 500,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := reopen(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := leaks(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// reopen shows that Close loses nothing, not even what was appended just before, and that a process may open
// its store again.
func reopen() error {
	ctx, at := context.Background(), time.Now()
	if err := shared.Append(ctx, []core.Sample{{Name: "last_words", Value: 1, AtMS: at.UnixMilli()}}); err != nil {
		return err
	}
	if err := errors.Join(shared.Close(), shared.Close()); err != nil {
		return err
	}
	if _, err := shared.Query(ctx, "last_words", at, 0); core.Code(err) != core.CodeUnavailable {
		return fmt.Errorf("a closed store answered: %w", err)
	}
	if err := shared.Ready(); core.Code(err) != core.CodeUnavailable {
		return fmt.Errorf("a closed store is ready: %w", err)
	}
	again, err := Open(ctx, Options{Dir: sharedDir})
	if err != nil {
		return err
	}
	got, err := again.Query(ctx, "last_words", time.Now(), 0)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("after a restart got %v: %w", got, err)
	}
	return again.Close()
}

// leaks looks for goroutines of ours. The ignored ones are VictoriaMetrics' own: started by its packages'
// init and never stopped.
func leaks() error {
	return goleak.Find(
		goleak.IgnoreTopFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/fasttime.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/logger.logLimiterCleaner"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/logger.newLogThrottler.func1"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/blockcache.(*Cache).cleaner"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/lrucache.(*Cache).cleaner"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/workingsetcache.(*Cache).runWatchers.func1"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/workingsetcache.(*Cache).prevCacheWatcher"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/workingsetcache.(*Cache).cacheSizeWatcher"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/timeutil.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/VictoriaMetrics/lib/bytesutil.newInternStringMap.func1"),
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/metrics.summariesSwapCron"),
	)
}

// startRemote builds and starts app/victoria-metrics of the module in go.mod.
func startRemote(root string) (func(), error) {
	bin := filepath.Join(root, "victoria-metrics")
	build := exec.Command("go", "build", "-o", bin, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build victoria-metrics: %w: %s", err, out)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	remoteAddr = l.Addr().String()
	_ = l.Close()
	log, err := os.Create(filepath.Join(root, "victoria-metrics.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "-storageDataPath="+filepath.Join(root, "remote"), "-httpListenAddr="+remoteAddr,
		"-retentionPeriod=100d", "-inmemoryDataFlushInterval=1s", "-storage.cacheSizeIndexDBTagFilters=1")
	cmd.Stderr, cmd.Stdout = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + remoteAddr + "/health")
		if err == nil {
			_ = resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return stop, nil
		}
	}
	stop()
	return nil, errors.New("victoria-metrics did not start")
}

// child is a second process: it opens the store in dir, writes one sample each 10 ms under the name
// child_total and says so on standard output. Told how much of the disk must stay free, it goes on when a sample is
// refused, and says what became of each and whether the store is ready.
func child(dir string) {
	free, _ := strconv.ParseInt(os.Getenv("STORE_TEST_FREE"), 10, 64)
	s, err := Open(context.Background(), Options{Dir: dir, minFree: free})
	if err != nil {
		fmt.Println("error", core.Code(err), err)
		os.Exit(3)
	}
	fmt.Println("open")
	for i := 1; ; i++ {
		err := s.Append(context.Background(), []core.Sample{{Name: "child_total", Value: float64(i), AtMS: time.Now().UnixMilli()}})
		switch {
		case free > 0:
			fmt.Printf("%s\t%s\n", said(err), said(s.Ready()))
		case err != nil:
			fmt.Println("error", err)
			os.Exit(4)
		default:
			fmt.Println(i, time.Now().UnixMilli())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func said(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
