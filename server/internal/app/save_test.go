package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// watchedLog is a log that can be read while it is written.
type watchedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *watchedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *watchedLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// What the watches have learned is in the data directory, also when the server ends, and the next start goes on with it.
func TestWhatWasLearnedOutlastsTheServer(t *testing.T) {
	dir := t.TempDir()
	o := Options{ConfigPath: filepath.Join(dir, "evenkeel.yaml"), DataDir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0"}
	text := "sites:\n  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city}\n" +
		"watches:\n  - {name: own, query: evenkeel_detect_evaluations_total, about: site, every: 1s, model: robust-z}\n"
	if err := os.WriteFile(o.ConfigPath, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	states := func() []string {
		files, err := filepath.Glob(filepath.Join(o.DataDir, "detect", "*.state"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	run := func(until func(log *watchedLog) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		log := &watchedLog{}
		o := o
		o.Log = slog.New(slog.NewTextHandler(log, nil))
		done := make(chan error, 1)
		go func() { done <- Run(ctx, o) }()
		for !until(log) {
			select {
			case err := <-done:
				t.Fatalf("it ended: %v\n%s", err, log.b.String())
			case <-time.After(20 * time.Millisecond):
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	run(func(*watchedLog) bool { return len(states()) == 1 }) // while it runs
	run(func(log *watchedLog) bool {
		if !log.has("goes on with what it had learned") {
			return false
		}
		if len(states()) == 1 {
			if err := os.Remove(states()[0]); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if len(states()) != 1 {
		t.Errorf("files %v, want one that was written at the end", states())
	}
	run(func(log *watchedLog) bool { return log.has("goes on with what it had learned") })
}
