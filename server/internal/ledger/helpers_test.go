package ledger

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func open(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func fresh(t testing.TB) *Ledger {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "ledger"))
}

func commit(t testing.TB, l *Ledger, changes ...core.Change) int64 {
	t.Helper()
	rev, err := l.Commit(t.Context(), changes)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || core.Code(err) != code {
		t.Errorf("error is %v, want one with code %s", err, code)
	}
}

func at(sec int) time.Time { return time.Date(2026, 11, 1, 0, 0, sec, 0, time.UTC) }

func line(text string) core.Change {
	return core.Change{Line: &core.Line{At: at(0), Kind: "system", Sentence: text}}
}

func backup(t testing.TB, l *Ledger, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Backup(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// damage changes one byte in the middle of a file.
func damage(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func slogDiscard() *slog.Logger { return slog.New(slog.DiscardHandler) }
