package ledger

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// halfBegun is a directory whose first start was killed when etcd had made its log and nothing in it.
func halfBegun(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "etcd", "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A node and a cluster, as etcd writes them there.
	w, err := wal.Create(zap.NewNop(), filepath.Join(dir, "etcd", "member", "wal"), []byte{0x08, 0x01, 0x10, 0x01})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// within bounds an opening that would wait for ever.
func within(t *testing.T, o Options) (*Ledger, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Open(ctx, o)
}

// A ledger whose beginning was cut off is begun again, and one that has begun is not.
func TestABeginningThatIsCutOff(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ledger")
	halfBegun(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "etcd", "beginning"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if begun, err := Begun(dir); begun || err != nil {
		t.Errorf("begun: %t, %v", begun, err)
	}
	l, err := within(t, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	first := l.Identity()
	commit(t, l, line("kept"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if begun, err := Begun(dir); !begun || err != nil {
		t.Errorf("begun: %t, %v", begun, err)
	}
	if again := open(t, dir); again.Identity() != first {
		t.Errorf("the ledger of %+v is that of %+v now", first, again.Identity())
	}
}

// Without the sign of a beginning nothing is removed, whatever etcd can do with it.
func TestALedgerIsNotBegunAnewByMistake(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ledger")
	halfBegun(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if l, err := Open(ctx, Options{Dir: dir}); err == nil {
		t.Errorf("opened as %+v", l.Identity())
	}
	if begun, err := Begun(dir); !begun || err != nil {
		t.Errorf("begun: %t, %v", begun, err)
	}
}

// A replica that was to begin a ledger may join one instead.
func TestACutOffBeginningDoesNotOutliveAJoin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ledger")
	halfBegun(t, dir)
	etcd := filepath.Join(dir, "etcd")
	if err := prepare(etcd, true); err != nil {
		t.Fatal(err)
	}
	if cut, err := cutOff(etcd); cut || err != nil {
		t.Errorf("a ledger that is there is about to begin: %v", err)
	}
	if err := os.WriteFile(filepath.Join(etcd, beginningFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepare(etcd, false); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(etcd); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
