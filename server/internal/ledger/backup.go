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
	dir := filepath.Join(o.Dir, "etcd")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return core.Identity{}, &core.Error{
			Code: core.CodeConflict, Message: "there is a ledger in " + o.Dir + " already, and it is not overwritten", Err: err,
			Hint: "restore to an empty data directory, or move the old one away first",
		}
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return core.Identity{}, notUsable(o.Dir, err)
	}
	c := alone(dir, 0, log)
	name, peers, initial := c.Name, []string{c.AdvertisePeerUrls[0].String()}, c.InitialCluster
	if r := o.Replicas; r != nil {
		u, err := peerURL(r.Peer)
		if err != nil {
			return core.Identity{}, err
		}
		name, peers, initial = r.Name, []string{u.String()}, r.Name+"="+u.String()
	}
	if err := checkBackup(o.From); err != nil {
		return core.Identity{}, err
	}
	if err := snapshot.NewV3(newZap(log)).Restore(snapshot.RestoreConfig{
		SnapshotPath: o.From, Name: name, OutputDataDir: dir, PeerURLs: peers, InitialCluster: initial,
		InitialClusterToken: randomID("restored-"),
	}); err != nil {
		// What was begun is taken away, so that it can be tried again.
		return core.Identity{}, errors.Join(&core.Error{
			Code: core.CodeInvalid, Message: o.From + " cannot be restored", Err: err,
			Hint: "use a file written by 'evenkeel-server backup'; a damaged one does not pass its checksum",
		}, os.RemoveAll(dir))
	}
	l, err := Open(ctx, Options{Dir: o.Dir, Log: log, Replicas: o.Replicas})
	if err != nil {
		return core.Identity{}, errors.Join(err, os.RemoveAll(dir))
	}
	ident, err := l.begun(ctx, o.From)
	if err = errors.Join(err, l.Close()); err != nil { //nolint:contextcheck // closing ends also when ctx has
		return core.Identity{}, errors.Join(err, os.RemoveAll(dir))
	}
	return ident, nil
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
	if err != nil || len(res.Kvs) == 0 {
		return core.Identity{}, unavailable("the backup holds no identity: it is of no ledger", err)
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
// another whose ledger is lost. An epoch of 0 is the next one; it must be higher than the present one, and higher than
// what the executors have obeyed, which preflight tells. The token signs the record.
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
	if next.ClusterID == old.ClusterID && next.Epoch <= old.Epoch {
		return core.Identity{}, &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("epoch %d is not above the present one, %d", next.Epoch, old.Epoch),
			Hint: "give a higher one, or none for the next",
		}
	}
	if next.Epoch < 1 || !clusterName.MatchString(next.ClusterID) {
		return core.Identity{}, &core.Error{
			Code: core.CodeInvalid, Message: "that is no cluster id or no epoch", Hint: "take both from: evenkeel-server preflight",
		}
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
