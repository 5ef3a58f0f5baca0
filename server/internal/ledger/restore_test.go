package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// looked is a context that looks whenever somebody asks whether it is done.
type looked struct {
	context.Context //nolint:containedctx // it is the context
	look            func()
}

func (c looked) Done() <-chan struct{} { c.look(); return c.Context.Done() }

// A restore that is cut off leaves nothing to start with: the epoch of the backup was commanded with before.
func TestARestoreThatIsCutOff(t *testing.T) {
	t.Parallel()
	l := fresh(t)
	file := filepath.Join(t.TempDir(), "backup")
	backup(t, l, file)
	dir := filepath.Join(t.TempDir(), "restored")
	looks := 0
	ctx := looked{t.Context(), func() {
		looks++
		if begun, err := Begun(dir); begun || err != nil {
			t.Fatalf("a kill now would leave a ledger with the old epoch: %t, %v", begun, err)
		}
	}}
	// What a kill left behind is in nobody's way.
	if err := os.MkdirAll(filepath.Join(dir, "restoring", "etcd", "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	ident, err := Restore(ctx, RestoreOptions{From: file, Dir: dir})
	if err != nil || looks == 0 {
		t.Fatalf("%v after %d looks", err, looks)
	}
	if r := open(t, dir); r.Identity() != ident || ident.Pending == "" {
		t.Errorf("restored as %+v, read as %+v", ident, r.Identity())
	}
	if _, err := os.Stat(filepath.Join(dir, "restoring")); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
}

// A file with a right checksum need not be a backup of a ledger.
func TestAForeignBackup(t *testing.T) {
	t.Parallel()
	foreign := filepath.Join(t.TempDir(), "foreign")
	e, err := embed.StartEtcd(alone(filepath.Join(t.TempDir(), "etcd"), 0, slogDiscard()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := awaitEtcd(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	theirs := v3client.New(e.Server)
	if _, err := theirs.Put(t.Context(), "/registry/pods/default/web", "theirs"); err != nil {
		t.Fatal(err)
	}
	l := &Ledger{client: theirs}
	backup(t, l, foreign)
	summed := func(db []byte) string {
		path := filepath.Join(t.TempDir(), "db")
		sum := sha256.Sum256(db)
		if err := os.WriteFile(path, append(db, sum[:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, file := range map[string]string{
		"another's etcd": foreign,
		"nothing":        summed(nil),
		"zeros":          summed(make([]byte, 16384)),
		"noise":          summed(bytes.Repeat([]byte{0xed, 0x0c, 0xda, 0xed}, 8192)),
	} {
		dir := filepath.Join(t.TempDir(), "restored")
		_, err := Restore(t.Context(), RestoreOptions{From: file, Dir: dir})
		if core.Code(err) != core.CodeInvalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if has, err := Begun(dir); has || err != nil {
			t.Errorf("%s leaves a ledger, %v", name, err)
		}
	}
}

// The name of a cluster that this ledger had before does not come back with an epoch from before.
func TestAdoptNeverGoesBack(t *testing.T) {
	t.Parallel()
	l := fresh(t)
	first := l.Identity()
	adopt := func(cluster string, epoch int64) error {
		_, err := l.Adopt(t.Context(), cluster, epoch, "ann", "drill", "secret")
		return err
	}
	if err := adopt("", 7); err != nil {
		t.Fatal(err)
	}
	wantCode(t, adopt("c_other", 7), core.CodeInvalid)
	wantCode(t, adopt("the other", 8), core.CodeInvalid)
	if err := adopt("c_other", 8); err != nil {
		t.Fatal(err)
	}
	wantCode(t, adopt(first.ClusterID, 2), core.CodeInvalid)
	if err := adopt(first.ClusterID, 0); err != nil || l.Identity().Epoch != 9 {
		t.Errorf("adopted as %+v, %v", l.Identity(), err)
	}
}
