package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// startOnce runs a server until it is ready.
func startOnce(t *testing.T, o Options) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Listen, o.Log, o.Started = "127.0.0.1:0", slog.New(slog.DiscardHandler), func(string) { cancel() }
	return Run(ctx, o)
}

// A server that was to join others must not begin a ledger of its own because its configuration was forgotten.
func TestSettingsThatDoNotGoTogether(t *testing.T) {
	for name, o := range map[string]Options{
		"join without replicas":        {JoinFile: "r2.bundle"},
		"bootstrap without replicas":   {Bootstrap: true},
		"peer-listen without replicas": {PeerListen: "127.0.0.1:0"},
		"bootstrap and join":           {Bootstrap: true, JoinFile: "r2.bundle", Replica: "r2"},
	} {
		o.DataDir = filepath.Join(t.TempDir(), "data")
		err := startOnce(t, o)
		if problem, ok := errors.AsType[*core.Error](err); !ok || problem.Code != core.CodeInvalid || problem.Hint == "" {
			t.Errorf("%s: error is %v", name, err)
		}
		if _, err := os.Stat(o.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something is left in the data directory: %v", name, err)
		}
	}
}

// The bundle is removed once its replica has joined, and the command line may stay as it is.
func TestTheBundleMayBeGoneLater(t *testing.T) {
	dir := t.TempDir()
	text := "lab: true\nreplicas:\n"
	for i := range 3 {
		text += fmt.Sprintf("  - {name: r%d, at: fra, peer: %q}\n", i+1, freePeer(t))
	}
	o := Options{ConfigPath: filepath.Join(dir, "evenkeel.yaml"), DataDir: filepath.Join(dir, "data"), Replica: "r1", Bootstrap: true}
	if err := os.WriteFile(o.ConfigPath, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startOnce(t, o); err != nil {
		t.Fatal(err)
	}
	o.Bootstrap, o.JoinFile = false, filepath.Join(dir, "gone.bundle")
	if err := startOnce(t, o); err != nil {
		t.Error(err)
	}
}

// A server that went on without its own profiles would leave those of another server at the address that it was given.
func TestATakenAddressEndsTheStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(remedy string, o Options) {
		t.Helper()
		o.DataDir, o.Log = filepath.Join(t.TempDir(), "data"), slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o.Started = func(string) { cancel() }
		err := Run(ctx, o)
		if core.Code(err) != core.CodeUnavailable || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("error is %v, want %s", err, remedy)
		}
		if _, err := os.Stat(o.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something is left in the data directory: %v", err)
		}
	}
	f("another address with --listen", Options{Listen: taken.Addr().String()})
	f("another address with --admin-listen", Options{Listen: "127.0.0.1:0", AdminListen: taken.Addr().String()})
}
