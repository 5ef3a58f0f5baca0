package ledger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Backup writes the whole ledger as it stands, in etcd's own form with a checksum at its end. It takes no majority.
func (l *Ledger) Backup(ctx context.Context, w io.Writer) error {
	r, err := l.client.Snapshot(ctx)
	if err != nil {
		return unavailable("the ledger could not be read for a backup", err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.Copy(w, r); err != nil {
		return unavailable("the backup broke off", err)
	}
	return nil
}

// RestoreOptions are what Restore needs.
type RestoreOptions struct {
	From     string    // a file that Backup wrote
	Dir      string    // of the ledger; there must be none in it
	Replicas *Replicas // nil: a server that is alone
	Log      *slog.Logger
}

// Restore makes a ledger of one member out of a backup. Its epoch is raised by one, and it waits for a person to adopt
// it: until then nothing may be commanded in its name, since nobody knows what happened after the backup.
func Restore(ctx context.Context, o RestoreOptions) (core.Identity, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	lock, err := claimDir(o.Dir)
	if err != nil {
		return core.Identity{}, err
	}
	defer func() { _ = lock.Close() }() // a lock that fails to close is gone with this process
	dir := filepath.Join(o.Dir, "etcd")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return core.Identity{}, &core.Error{
			Code: core.CodeConflict, Message: "there is a ledger in " + o.Dir + " already, and it is not overwritten", Err: err,
			Hint: "restore to an empty data directory, or move the old one away first",
		}
	}
	// The ledger is made aside and takes its place when its epoch is raised: a restore that is cut off must leave nothing
	// that a server could start with, for it would command with tokens that were used before.
	stage := filepath.Join(o.Dir, "restoring")
	if err := os.RemoveAll(stage); err != nil {
		return core.Identity{}, notUsable(stage, err)
	}
	ident, err := o.restore(ctx, stage, log)
	if err == nil {
		err = settleDir(filepath.Join(stage, "etcd"), dir)
	}
	if err = errors.Join(err, os.RemoveAll(stage)); err != nil {
		return core.Identity{}, err
	}
	return ident, nil
}

// settleDir gives a directory its name, for good.
func settleDir(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return notUsable(to, err)
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return notUsable(to, err)
	}
	return nil
}

// restore makes the ledger in the directory, with its epoch raised, and closes it.
func (o RestoreOptions) restore(ctx context.Context, stage string, log *slog.Logger) (core.Identity, error) {
	dir := filepath.Join(stage, "etcd")
	c := alone(dir, 0, log)
	config := snapshot.RestoreConfig{
		SnapshotPath: o.From, Name: c.Name, OutputDataDir: dir, PeerURLs: []string{c.AdvertisePeerUrls[0].String()},
		InitialCluster: c.InitialCluster, InitialClusterToken: randomID("restored-"),
	}
	if r := o.Replicas; r != nil {
		u, err := peerURL(r.Peer)
		if err != nil {
			return core.Identity{}, err
		}
		config.Name, config.PeerURLs, config.InitialCluster = r.Name, []string{u.String()}, r.Name+"="+u.String()
	}
	if err := checkBackup(o.From); err != nil {
		return core.Identity{}, err
	}
	if err := unpack(config, log); err != nil {
		return core.Identity{}, &core.Error{
			Code: core.CodeInvalid, Message: o.From + " cannot be restored", Err: err,
			Hint: "use a file written by 'evenkeel-server backup'; a damaged one does not pass its checksum",
		}
	}
	l, err := Open(ctx, Options{Dir: stage, Log: log, Replicas: o.Replicas, restored: true})
	if err != nil {
		return core.Identity{}, err
	}
	ident, err := l.begun(ctx, o.From)
	return ident, errors.Join(err, l.Close()) //nolint:contextcheck // closing ends also when ctx has
}

// unpack makes the directory of etcd. etcd panics about a database that is none, whatever its checksum says.
func unpack(c snapshot.RestoreConfig, log *slog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcd panicked: %v", p)
		}
	}()
	return snapshot.NewV3(newZap(log)).Restore(c)
}

// checkBackup sees that a file can be a backup at all: a copy of the database, which has whole pages, and its SHA-256.
func checkBackup(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return &core.Error{Code: core.CodeInvalid, Message: path + " cannot be read", Err: err, Hint: "name a file written by 'evenkeel-server backup'"}
	}
	if info.Size()%512 != sha256.Size {
		return &core.Error{
			Code: core.CodeInvalid, Message: path + " is no whole backup: it was cut off, or is something else",
			Hint: "use another one; a server keeps those of the last hours in its data directory under backups",
		}
	}
	return nil
}

// begun raises the epoch of a restored ledger and drops what was only true when the backup was made.
func (l *Ledger) begun(ctx context.Context, from string) (core.Identity, error) {
	if l.server != nil {
		if err := awaitEtcd(ctx, l.server); err != nil {
			return core.Identity{}, err
		}
	}
	res, err := l.client.Get(ctx, keyIdentity)
	if err != nil || len(res.Kvs) == 0 { // Open has seen it
		return core.Identity{}, unavailable("the ledger does not answer", err)
	}
	old, err := decode[core.Identity](res.Kvs[0])
	if err != nil {
		return core.Identity{}, err
	}
	next := core.Identity{
		ClusterID: old.ClusterID, Epoch: old.Epoch + 1,
		Pending: fmt.Sprintf("restored on %s from %s, which ends at revision %d: see what happened since, then adopt",
			time.Now().UTC().Format(time.RFC3339), filepath.Base(from), res.Header.GetRevision()),
	}
	value, err := json.Marshal(next)
	if err != nil {
		return core.Identity{}, fmt.Errorf("encode the identity: %w", err)
	}
	if _, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keyIdentity), "=", res.Kvs[0].GetModRevision())).
		Then(clientv3.OpPut(keyIdentity, string(value)), clientv3.OpDelete(liveRoot, clientv3.WithPrefix())).
		Commit(); err != nil {
		return core.Identity{}, unavailable("the epoch could not be raised", err)
	}
	return next, nil
}

// Adopt is an operator's word that from now on this ledger speaks for a cluster: the one it is of, or, with clusterID,
// another whose ledger is lost. An epoch of 0 is the next one; it must be higher than the present one, whatever the
// cluster, and higher than what the executors have obeyed, which preflight tells. The token signs the record.
func (l *Ledger) Adopt(ctx context.Context, clusterID string, epoch int64, by, reason string, token core.Secret) (core.Identity, error) {
	res, err := l.client.Get(ctx, keyIdentity)
	if err != nil || len(res.Kvs) == 0 {
		return core.Identity{}, unavailable("the ledger does not answer", err)
	}
	old, err := decode[core.Identity](res.Kvs[0])
	if err != nil {
		return core.Identity{}, err
	}
	next := core.Identity{ClusterID: old.ClusterID, Epoch: epoch}
	if clusterID != "" {
		next.ClusterID = clusterID
	}
	if epoch == 0 {
		next.Epoch = old.Epoch + 1
	}
	// Also in the name of another cluster: it may be one whose name this ledger had before.
	if next.Epoch <= old.Epoch {
		return core.Identity{}, &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("epoch %d is not above the present one, %d", next.Epoch, old.Epoch),
			Hint: "give a higher one, or none for the next",
		}
	}
	if err := core.CheckClusterID(next.ClusterID); err != nil {
		return core.Identity{}, err
	}
	a := core.Adoption{
		ClusterID: next.ClusterID, Epoch: next.Epoch, From: *old, By: by, Reason: reason, At: time.Now().UTC(),
	}
	if a.Signature, err = signAdoption(a, token); err != nil {
		return core.Identity{}, err
	}
	record, err := json.Marshal(a)
	if err != nil {
		return core.Identity{}, fmt.Errorf("encode the adoption: %w", err)
	}
	value, err := json.Marshal(next)
	if err != nil {
		return core.Identity{}, fmt.Errorf("encode the identity: %w", err)
	}
	txn, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keyIdentity), "=", res.Kvs[0].GetModRevision())).
		Then(clientv3.OpPut(keyIdentity, string(value)),
			clientv3.OpPut(fmt.Sprintf("%s%s/%010d", prefixAdoption, part(next.ClusterID), next.Epoch), string(record))).
		Commit()
	switch {
	case err != nil:
		return core.Identity{}, unavailable("it is not known whether the ledger was adopted; look at its status", err)
	case !txn.Succeeded:
		return core.Identity{}, &core.Error{
			Code: core.CodeConflict, Message: "somebody else adopted the ledger just now", Hint: "look at its status before you try again",
		}
	}
	l.saw(txn.Header.GetRevision())
	l.ident.Store(&next)
	l.log.LogAttrs(ctx, slog.LevelWarn, "ledger adopted", slog.String("cluster_id", next.ClusterID), slog.Int64("epoch", next.Epoch),
		slog.String("by", by), slog.String("reason", reason))
	return next, nil
}

// signAdoption is the HMAC-SHA256, keyed with the text of the token, of the record without its signature. Who holds the
// token can prove who gave the order; the ledger itself, which knows only the token's hash, cannot make one up.
func signAdoption(a core.Adoption, token core.Secret) (string, error) {
	a.Signature = ""
	text, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("encode the adoption: %w", err)
	}
	mac := hmac.New(sha256.New, []byte(token.Reveal()))
	mac.Write(text)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil)), nil
}
