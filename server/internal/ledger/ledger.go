package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Options are what a ledger needs.
type Options struct {
	Dir      string                // created when absent; belongs to the ledger alone
	Log      *slog.Logger          // nil: nothing is logged
	Registry prometheus.Registerer // nil: nothing is registered

	quota int64 // bytes; 0: the default. Tests fill a ledger with it.
}

// Ledger is an open ledger. All methods may be called from any goroutine.
type Ledger struct {
	log     *slog.Logger
	lock    *fileutil.LockedFile
	server  *embed.Etcd
	client  *clientv3.Client
	metrics *metrics
	tokens  *tokens
	ident   core.Identity

	revision atomic.Int64 // highest revision seen

	write       sync.Mutex // held over every write and over what must not overlap one
	fence       int64      // ModRevision of the fence while it is ours
	incarnation string     // of this opening
	fenceLost   bool       // another opening took the fence: never write again
	doubtful    bool       // a write ended without a known outcome

	stop     context.CancelFunc
	done     sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// Open opens the ledger in o.Dir, creating it when the directory is empty. It returns a *core.Error with a
// hint when the directory cannot be used: not writable, in use by another process, or written by a newer
// version. The context bounds the start only.
func Open(ctx context.Context, o Options) (l *Ledger, err error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	lock, err := claimDir(o.Dir)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	l = &Ledger{log: log, lock: lock, tokens: newTokens(), stop: stop, incarnation: randomID("")}
	defer func() {
		if err != nil {
			_ = l.Close()
			l = nil
		}
	}()
	if l.server, err = startEtcd(ctx, filepath.Join(o.Dir, "etcd"), o.quota, log); err != nil {
		return l, err
	}
	l.client = v3client.New(l.server.Server)
	if err = l.begin(ctx, run); err != nil {
		return l, err
	}
	l.metrics, err = newMetrics(o.Registry, l)
	return l, err
}

// begin reads who we are, takes the fence and starts following the tokens.
func (l *Ledger) begin(ctx, run context.Context) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.readIdentity(ctx); err != nil {
		return err
	}
	if err := l.putFence(ctx); err != nil {
		return err
	}
	rev, err := l.readTokens(ctx)
	if err != nil {
		return err
	}
	l.done.Go(func() { l.followTokens(run, rev) })
	return nil
}

// Close stops etcd and gives the directory free. Watches end. It may be called more than once.
func (l *Ledger) Close() error {
	l.closing.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Ledger) close() error {
	l.stop()
	l.done.Wait()
	l.metrics.close()
	if l.client != nil {
		_ = l.client.Close() // in-process: there is no connection that could fail to close
	}
	if l.server != nil {
		l.server.Close()
	}
	if err := l.lock.Close(); err != nil {
		return fmt.Errorf("release the lock of the ledger: %w", err)
	}
	return nil
}

// Identity is who this ledger is; it never changes while the ledger is open.
func (l *Ledger) Identity() core.Identity { return l.ident }

// Revision is the highest revision this process has seen. It costs nothing.
func (l *Ledger) Revision() int64 { return l.revision.Load() }

// saw raises Revision.
func (l *Ledger) saw(rev int64) {
	for {
		old := l.revision.Load()
		if rev <= old || l.revision.CompareAndSwap(old, rev) {
			return
		}
	}
}

const readyWithin = time.Second

// Ready reports whether the ledger can read and write now: a linearizable read must come back within a
// second, and etcd must have no alarm.
func (l *Ledger) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := l.alarm(); err != nil {
		return err
	}
	res, err := l.client.Get(ctx, keyIdentity)
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	l.saw(res.Header.GetRevision())
	if res.Count == 0 {
		return &core.Error{
			Code: core.CodeInternal, Message: "the ledger has lost its identity",
			Hint: "restore the data directory from a backup",
		}
	}
	return nil
}

// sizeOnDisk is the size of the database file in bytes.
func (l *Ledger) sizeOnDisk() float64 {
	info, err := os.Stat(filepath.Join(l.server.Config().Dir, "member", "snap", "db"))
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
