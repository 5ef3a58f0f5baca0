package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// format is the version of the layout of the directory and of the keys.
const format = 1

// claimDir makes sure that the directory is there, writable, ours alone and of a format that this version
// knows. All of it comes before etcd, which would wait for ever or take the process down instead.
func claimDir(dir string) (*fileutil.LockedFile, error) {
	if dir == "" {
		return nil, &core.Error{Code: core.CodeInvalid, Message: "the ledger needs a directory"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, notUsable(dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func lockDir(dir string) (*fileutil.LockedFile, error) {
	path := filepath.Join(dir, "lock")
	lock, err := fileutil.TryLockFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		holder := ""
		if pid, rerr := os.ReadFile(path); rerr == nil && len(pid) > 0 {
			holder = " (process " + string(bytes.TrimSpace(pid)) + ")"
		}
		return nil, &core.Error{
			Code:    core.CodeConflict,
			Message: "the ledger in " + dir + " is in use by another server" + holder,
			Hint:    "stop the other server or give this one another data directory",
		}
	}
	if err != nil {
		return nil, notUsable(dir, err)
	}
	// Who holds the lock is a courtesy to the reader of the message above; not being able to say so is
	// found out by checkDir.
	_ = lock.Truncate(0)
	_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return lock, nil
}

func checkDir(dir string) error {
	if err := fileutil.IsDirWriteable(dir); err != nil {
		return notUsable(dir, err)
	}
	path := filepath.Join(dir, "format")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := writeFile(path, strconv.Itoa(format)+"\n"); err != nil {
			return notUsable(dir, err)
		}
		return nil
	case err != nil:
		return notUsable(dir, err)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || n < 1 {
		return &core.Error{
			Code:    core.CodeInvalid,
			Message: fmt.Sprintf("%s holds %q instead of a format number", path, text),
			Hint:    "restore the data directory from a backup",
			Err:     err,
		}
	}
	if n > format {
		return &core.Error{
			Code: core.CodeInvalid,
			Message: fmt.Sprintf("the ledger in %s was written by a newer version (format %d, this version knows %d)",
				dir, n, format),
			Hint: "run that version again, or restore a backup made before the upgrade",
		}
	}
	return nil
}

// idOf is the random id of the directory, made at the first call.
func idOf(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	text, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(text)) > 0 {
		return string(bytes.TrimSpace(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", notUsable(dir, err)
	}
	id := randomID("dir_")
	if err := writeFile(path, id+"\n"); err != nil {
		return "", notUsable(dir, err)
	}
	return id, nil
}

// spokenFile holds when this replica last spoke to the others, by its own clock, as of ten seconds ago or so. What they
// heard from it later than that was written by a later state of the directory.
const spokenFile = "spoken"

// Spoke is what the directory of a ledger knows of when its replica last spoke, to some ten seconds; zero when it does not.
func Spoke(dir string) (time.Time, error) {
	text, err := os.ReadFile(filepath.Join(dir, spokenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, notUsable(dir, err)
	}
	at, err := time.Parse(time.RFC3339Nano, string(bytes.TrimSpace(text)))
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // damaged, so it says nothing
	}
	return at, nil
}

// noteSpoken writes down when this replica last spoke; false when it has not.
func (l *Ledger) noteSpoken(ctx context.Context) bool {
	l.live.mu.Lock()
	at := l.live.spoke
	l.live.mu.Unlock()
	if at.IsZero() {
		return false
	}
	if err := writeFile(filepath.Join(l.dir, spokenFile), at.UTC().Format(time.RFC3339Nano)+"\n"); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "time of the last word not written down", errAttr(err))
	}
	return true
}

// writeFile writes a small file so that it is either there whole or not at all.
func writeFile(path, text string) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func notUsable(dir string, err error) error {
	return &core.Error{
		Code:    core.CodeUnavailable,
		Message: "the ledger cannot use " + dir,
		Hint:    "make it a directory that the server's user may write to, on a disk with free space",
		Err:     err,
	}
}
