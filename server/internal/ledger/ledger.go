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
	Replicas *Replicas             // nil: this one is alone, and etcd listens on nothing

	quota  int64  // bytes; 0: the default. Tests fill a ledger with it.
	timing timing // zero: that of the pattern. Tests are less patient.
	// restored says that what is there was unpacked from a backup: without an identity it is of no ledger.
	restored bool
}

// Replicas says how this replica is one of several.
type Replicas struct {
	Name    string // of this replica
	Pattern string // one of Patterns; empty: cross-region
	TLS     TLSFiles
	// Peer is where the others reach this one, https://host:port, and Listen where it listens when that is another
	// address. Both are of no use with Endpoints.
	Peer, Listen string
	// Bootstrap lets an empty directory begin a new ledger; Join, the text of a bundle, lets it join one. Without either
	// an empty directory is refused: a replica that lost its disk must not begin a ledger of its own. Once there is a
	// ledger in the directory both are passed over.
	Bootstrap bool
	Join      []byte
	// Endpoints are those of an etcd that somebody else runs; none: etcd runs in this process. That etcd must allow
	// transactions of 4104 operations (--max-txn-ops) and requests of 9 MiB (--max-request-bytes).
	Endpoints []string
}

// Ledger is an open ledger. All methods may be called from any goroutine.
type Ledger struct {
	log     *slog.Logger
	lock    *fileutil.LockedFile
	dir     string
	dirID   string      // random, of the directory: whoever has its lock has the id
	server  *embed.Etcd // nil with endpoints
	client  *clientv3.Client
	metrics *metrics
	tokens  *tokens
	ident   atomic.Pointer[core.Identity]
	self    *Replicas // nil: alone
	lead    *lead     // nil: alone
	live    *live

	revision atomic.Int64 // highest revision seen

	joining     sync.Mutex   // held over a change of the membership
	write       sync.Mutex   // held over every write and over what must not overlap one
	fence       atomic.Int64 // ModRevision of the fence while it is ours; written under write
	incarnation string       // of this opening
	fenceLost   atomic.Bool  // another opening took the fence: write no more until it is taken anew
	doubtful    bool         // a write ended without a known outcome
	loaded      string       // incarnation at the last Load; of several replicas, what was decided on another one is not written

	stop     context.CancelFunc
	done     sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// Open opens the ledger in o.Dir, creating it when the directory is empty. It returns a *core.Error with a
// hint when the directory cannot be used: not writable, in use by another process, or written by a newer
// version. The context bounds the start only.
//
// A replica that was a member before opens without the others: it reads, and writes again when a majority is back.
// One that joins waits for them.
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
	l = &Ledger{
		log: log, lock: lock, dir: o.Dir, tokens: newTokens(), self: o.Replicas, stop: stop, incarnation: randomID(""),
		live: newLive(),
	}
	defer func() { //nolint:contextcheck // closing ends also when ctx has
		if err != nil {
			_ = l.Close()
			l = nil
		}
	}()
	if o.Replicas != nil {
		if l.dirID, err = idOf(o.Dir); err != nil {
			return l, err
		}
		t, err := timingOf(o.Replicas.Pattern)
		if err != nil {
			return l, err
		}
		if o.timing != (timing{}) {
			t = o.timing
		}
		l.lead = newLead(t)
	}
	if err = l.connect(ctx, o); err != nil {
		return l, err
	}
	if err = l.begin(ctx, run, o.restored); err != nil {
		return l, err
	}
	l.metrics, err = newMetrics(o.Registry, l)
	return l, err
}

// connect starts etcd, or calls the one that is there.
func (l *Ledger) connect(ctx context.Context, o Options) (err error) {
	dir := filepath.Join(o.Dir, "etcd")
	switch {
	case o.Replicas == nil:
		if err := prepare(dir, true); err != nil {
			return err
		}
		if l.server, err = startEtcd(alone(dir, o.quota, l.log)); err != nil {
			return err
		}
		if n := len(l.server.Server.Cluster().Members()); n > 1 {
			return &core.Error{
				Code: core.CodeConflict, Message: fmt.Sprintf("the ledger in %s has %d members and this server is started alone", o.Dir, n),
				Hint: "start it with --replica NAME and the replicas in its configuration; to go on with one server, remove the others first",
			}
		}
		if err = awaitEtcd(ctx, l.server); err != nil {
			return err
		}
	case len(o.Replicas.Endpoints) > 0:
		l.client, err = dial(o.Replicas, l.log)
		return err
	default:
		if err := prepare(dir, o.Replicas.Bootstrap && len(o.Replicas.Join) == 0); err != nil {
			return err
		}
		c, err := l.member(ctx, dir, o)
		if err != nil {
			return err
		}
		if l.server, err = startEtcd(c); err != nil {
			return err
		}
	}
	l.client = v3client.New(l.server.Server)
	l.client.KV = stoppable{l.client.KV, l.server.Server.StoppingNotify()}
	return nil
}

// begin reads who we are, starts following what the others write, and when alone takes the fence.
func (l *Ledger) begin(ctx, run context.Context, restored bool) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.readIdentity(ctx, restored); err != nil {
		return err
	}
	if l.server != nil {
		if err := begunForGood(l.server.Config().Dir); err != nil {
			return err
		}
	}
	if l.lead == nil {
		if err := l.putFence(ctx); err != nil {
			return err
		}
	}
	rev, err := l.readTokens(ctx)
	if err != nil {
		return err
	}
	l.done.Go(func() { l.followTokens(run, rev) })
	l.done.Go(func() { l.followIdentity(run) })
	if l.lead != nil {
		l.done.Go(func() { l.followLive(run) })
		l.done.Go(func() { l.campaign(run) })
		l.done.Go(func() { l.tend(run) })
	}
	return nil
}

// Close stops etcd and gives the directory free. Watches end. It may be called more than once.
func (l *Ledger) Close() error {
	l.closing.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Ledger) close() error {
	l.resign()
	l.stop()
	l.done.Wait()
	if l.lead != nil && l.server != nil {
		l.noteSpoken(context.Background())
	}
	l.metrics.close()
	if l.client != nil {
		_ = l.client.Close() // what was acknowledged is written; a connection that fails to close loses nothing
	}
	if l.server != nil {
		l.server.Close()
	}
	if err := l.lock.Close(); err != nil {
		return fmt.Errorf("release the lock of the ledger: %w", err)
	}
	return nil
}

// Identity is who this ledger is. It changes when an operator adopts.
func (l *Ledger) Identity() core.Identity { return *l.ident.Load() }

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
	if s := l.Leadership(); !s.Quorum {
		return &core.Error{
			Code: core.CodeUnavailable, Message: "the ledger has no majority here: " + s.Reason,
			Hint: "ask each of the others by itself, to see which are away: evenkeel-server status --server URL",
		}
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
	if l.server == nil {
		return 0
	}
	info, err := os.Stat(filepath.Join(l.server.Config().Dir, "member", "snap", "db"))
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
