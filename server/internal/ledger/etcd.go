package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What one commit may hold. It is one transaction, so it cannot be split.
const (
	maxOps   = 4096
	maxBytes = 8 << 20
)

// alone is etcd for one member that nobody talks to over a network.
func alone(dir string, quota int64, log *slog.Logger) *embed.Config {
	c := common(dir, quota, log)
	c.Name = "ledger"

	// No listener at all. The advertised address is a name in the membership record; nobody dials it.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenPeerUrls, c.ListenClientUrls, c.ListenClientHttpUrls = nil, nil, nil
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = []url.URL{peer}, nil
	c.InitialCluster = c.Name + "=" + peer.String()

	// There is no network to be patient with: a short election makes for a short start.
	c.TickMs, c.ElectionMs = 50, 250

	// Entries are kept in memory until the next snapshot, for followers that do not exist.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 50
	return c
}

// common is what both forms have in common.
func common(dir string, quota int64, log *slog.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Dir = dir
	// Two ledgers that were begun under one name and address are two for etcd as well: their members do not mix.
	c.InitialClusterToken = randomID("begun-")
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(log))
	c.LogLevel = "warn"
	c.EnableGRPCGateway = false
	c.AuthToken = ""
	c.MaxSnapFiles, c.MaxWalFiles = 2, 2
	// The write-ahead log is what makes a commit durable; the database file may trail it.
	c.BackendBatchInterval, c.BackendBatchLimit = 500*time.Millisecond, 1000
	c.QuotaBackendBytes = cmp.Or(quota, 1<<30)
	c.BackendFreelistType = "map"
	// Superseded versions of records are kept for so many revisions: a watcher may resume that far back.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModeRevision, "10000"

	c.MaxTxnOps = maxOps + 8 // the fence and its company
	c.MaxRequestBytes = maxBytes + 64<<10
	c.WarningApplyDuration = time.Second
	c.WarningUnaryRequestDuration = 2 * time.Second
	return c
}

// startEtcd starts the member. etcd panics about damaged files; what panics on this goroutine comes back as an
// error.
func startEtcd(c *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(c.Dir, fmt.Errorf("etcd panicked: %v", p))
		}
	}()
	if e, err = embed.StartEtcd(c); err != nil {
		return nil, damaged(c.Dir, err)
	}
	return e, nil
}

// awaitEtcd waits until the member serves, which takes a majority of the members.
func awaitEtcd(ctx context.Context, e *embed.Etcd) error {
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case <-e.Server.StopNotify():
		return removed(nil)
	case <-ctx.Done():
		return unavailable("the ledger did not start", ctx.Err())
	}
}

func removed(err error) error {
	return &core.Error{
		Code: core.CodeConflict, Message: "the ledger of this replica has stopped: the others removed it, or its disk failed", Err: err,
		Hint: "look at the log; a removed replica joins again with: evenkeel-server replica replace NAME --out FILE, and an empty data directory",
	}
}

func damaged(dir string, err error) error {
	if strings.Contains(err.Error(), "permanently removed") {
		return removed(err)
	}
	if listen, ok := errors.AsType[*net.OpError](err); ok && listen.Op == "listen" {
		return &core.Error{
			Code: core.CodeUnavailable, Message: "the address for the other replicas cannot be listened on", Err: err,
			Hint: "stop what has it, which may be this replica's own server, or give another with --peer-listen",
		}
	}
	return &core.Error{
		Code: core.CodeInternal, Message: "the ledger in " + dir + " cannot be opened",
		Hint: "check the disk; if the files are damaged, restore the data directory from a backup", Err: err,
	}
}

// alarm is the error that etcd's alarms amount to.
func (l *Ledger) alarm() error {
	if l.server == nil {
		return nil // an etcd of its own watches over itself; a write that it refuses says why
	}
	for _, a := range l.server.Server.Alarms() {
		switch a.GetAlarm() {
		case etcdserverpb.AlarmType_NOSPACE:
			return noSpace(nil)
		case etcdserverpb.AlarmType_CORRUPT:
			return corrupt(nil)
		case etcdserverpb.AlarmType_NONE:
		}
	}
	return nil
}

func noSpace(err error) error {
	return &core.Error{
		Code: core.CodeUnavailable, Message: "the ledger is full and takes no more records",
		Hint: "restart the server to give unused space free; if that is not enough, trim the history", Err: err,
	}
}

func corrupt(err error) error {
	return &core.Error{
		Code: core.CodeUnavailable, Message: "the ledger found its own data damaged and takes no more records",
		Hint: "check the disk and restore the data directory from a backup", Err: err,
	}
}

// unavailable wraps what etcd answered into what an operator can use.
func unavailable(message string, err error) error {
	switch {
	case errors.Is(err, errStopped):
		return removed(err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return noSpace(err)
	case errors.Is(err, rpctypes.ErrCorrupt):
		return corrupt(err)
	}
	return &core.Error{
		Code: core.CodeUnavailable, Message: message,
		Hint: "see whether the disk is slow, full or failing, and of several replicas whether a majority is there", Err: err,
	}
}
