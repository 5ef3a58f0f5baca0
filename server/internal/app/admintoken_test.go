package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

// tokenDir is a data directory whose ledger was begun by a start that was killed; prepare says how far it came.
func tokenDir(t *testing.T, prepare func(l *ledger.Ledger, path string)) (dir, path string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	path = filepath.Join(dir, AdminTokenFile)
	withLedger(t, dir, func(l *ledger.Ledger) { prepare(l, path) })
	return dir, path
}

func withLedger(t *testing.T, dir string, f func(l *ledger.Ledger)) {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: ledgerDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	f(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func leave(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opens checks that the file holds a valid admin token and that nothing is left beside it.
func opens(t *testing.T, dir, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", err, info)
	}
	withLedger(t, dir, func(l *ledger.Ledger) {
		if who, err := l.Authenticate(t.Context(), strings.TrimSpace(string(text))); err != nil || who.Kind != ledger.TokenAdmin {
			t.Errorf("the token in the file is of %+v, %v", who, err)
		}
	})
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Wherever the first start is cut off, the next one leaves an admin token that is valid.
func TestAFirstStartThatIsCutOff(t *testing.T) {
	t.Run("when the file cannot take its name", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		path := filepath.Join(dir, AdminTokenFile)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := startOnce(t, Options{DataDir: dir}); core.Code(err) != core.CodeUnavailable {
			t.Fatalf("error is %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := startOnce(t, Options{DataDir: dir}); err != nil {
			t.Fatal(err)
		}
		opens(t, dir, path)
	})
	f := func(name string, prepare func(l *ledger.Ledger, path string)) {
		t.Run(name, func(t *testing.T) {
			dir, path := tokenDir(t, prepare)
			if err := startOnce(t, Options{DataDir: dir}); err != nil {
				t.Fatal(err)
			}
			opens(t, dir, path)
		})
	}
	f("before the text is on the disk", func(*ledger.Ledger, string) {})
	f("in the middle of the text", func(_ *ledger.Ledger, path string) { leave(t, path+nextSuffix+".part", "evk_adm") })
	f("before the ledger knows it", func(_ *ledger.Ledger, path string) {
		leave(t, path+nextSuffix, ledger.NewToken(ledger.TokenAdmin).Reveal()+"\n")
	})
	f("before the file has its name", func(l *ledger.Ledger, path string) {
		text := ledger.NewToken(ledger.TokenAdmin)
		leave(t, path+nextSuffix, text.Reveal()+"\n")
		if _, err := l.KeepToken(t.Context(), text, ledger.TokenAdmin, "admin", nil); err != nil {
			t.Fatal(err)
		}
	})
}

// Who can write a file, or take one away, does not become an admin by it.
func TestTheFileOfTheTokenIsNoDoor(t *testing.T) {
	f := func(name string, next func(l *ledger.Ledger) string) {
		t.Run(name, func(t *testing.T) {
			dir, path := tokenDir(t, func(l *ledger.Ledger, path string) {
				if _, _, err := l.CreateToken(t.Context(), ledger.TokenAdmin, "admin", nil); err != nil {
					t.Fatal(err)
				}
				if text := next(l); text != "" {
					leave(t, path+nextSuffix, text)
				}
			})
			if err := startOnce(t, Options{DataDir: dir}); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is an admin token: %v", err)
			}
			withLedger(t, dir, func(l *ledger.Ledger) {
				if all, err := l.ListTokens(t.Context()); err != nil || all[0].Name != "admin" || len(all) > 1 && all[1].Kind == ledger.TokenAdmin {
					t.Errorf("tokens are %+v, %v", all, err)
				}
			})
		})
	}
	f("the file is gone", func(*ledger.Ledger) string { return "" })
	f("a text of somebody's own", func(*ledger.Ledger) string { return "evk_admin_mine" })
	f("the token of a site", func(l *ledger.Ledger) string {
		_, text, err := l.CreateToken(t.Context(), ledger.TokenSite, "fra", nil)
		if err != nil {
			t.Fatal(err)
		}
		return text.Reveal()
	})
}
