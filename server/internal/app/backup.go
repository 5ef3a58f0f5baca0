package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

const (
	backupEvery  = time.Hour
	backupsKept  = 24
	backupPrefix = "ledger-"
	backupSuffix = ".backup"
)

// backups keeps copies of the ledger of the last hours in the data directory. They are for mistakes of people and of
// programs; against the loss of the disk take one elsewhere with 'evenkeel-server backup'.
func (s *Server) backups(ctx context.Context) {
	every(ctx, backupEvery, func(now time.Time) {
		if err := s.backupOnce(ctx, filepath.Join(s.opts.DataDir, "backups"), now); err != nil && ctx.Err() == nil {
			s.room("app").Warn("ledger not backed up", slog.Any("error", err))
		}
	})
}

// backupOnce writes one copy, whole or not at all, and removes the oldest ones.
func (s *Server) backupOnce(ctx context.Context, dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of backups: %w", err)
	}
	path := filepath.Join(dir, backupPrefix+now.UTC().Format("20060102T150405Z")+backupSuffix)
	if err := writeWhole(path, func(w io.Writer) error { return s.ledger.Backup(ctx, w) }); err != nil {
		return fmt.Errorf("write a backup: %w", err)
	}
	return prune(dir, backupsKept)
}

// writeWhole has a file written, readable by its owner alone, that takes its name only when it is whole and on the disk.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // the name too outlives a loss of power
}

// prune removes all but the newest backups; their names sort by time.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the backups: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), backupPrefix) && strings.HasSuffix(e.Name(), backupSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-keep)] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove an old backup: %w", err)
		}
	}
	return nil
}

// RestoreOptions are what Restore works with.
type RestoreOptions struct {
	From       string // file
	ConfigPath string // of the server that is to start with it; empty: an empty file
	Replica    string // as for Options
	DataDir    string
	Log        *slog.Logger
}

// Restore makes the ledger of a stopped server out of a backup. The server then reads and does not act until somebody
// adopts the ledger.
func Restore(ctx context.Context, o RestoreOptions) (core.Identity, error) {
	c := config.Default()
	if o.ConfigPath != "" {
		var err error
		if c, err = config.Load(o.ConfigPath); err != nil {
			return core.Identity{}, err
		}
	}
	replicas, err := replicasOf(c, o.Replica)
	if err != nil {
		return core.Identity{}, err
	}
	if replicas != nil && len(replicas.Endpoints) > 0 {
		return core.Identity{}, &core.Error{
			Code: core.CodeInvalid, Message: "the ledger is in an etcd of your own", Hint: "restore it there with etcdutl, then raise the epoch with: evenkeel-server adopt",
		}
	}
	return ledger.Restore(ctx, ledger.RestoreOptions{From: o.From, Dir: ledgerDir(o.DataDir), Replicas: replicas, Log: o.Log})
}
