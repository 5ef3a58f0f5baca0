package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/fs"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// minFreeBytes is where VictoriaMetrics stops taking samples, if not told otherwise.
const minFreeBytes = 100_000_000

// preflight checks everything for which VictoriaMetrics would exit the process.
func preflight(dir string, minFree int64) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return notOurs(dir, err)
		}
		return &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("cannot make the store's directory %s", dir),
			Hint: "use a path that is a directory, or can become one", Err: err,
		}
	}
	for _, d := range []string{dir, filepath.Join(dir, "data"), filepath.Join(dir, "indexdb"), filepath.Join(dir, "metadata")} {
		if err := writable(d); err != nil {
			return notOurs(d, err)
		}
	}
	if err := probeLock(filepath.Join(dir, fs.FlockFilename)); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return notOurs(dir, err)
		}
		return &core.Error{
			Code: core.CodeConflict, Message: fmt.Sprintf("the store's directory %s is in use by another process", dir),
			Hint: "stop the other server, or give this one a directory of its own", Err: err,
		}
	}
	if free := fs.MustGetFreeSpace(dir); free < uint64(minFree) {
		return &core.Error{
			Code:    core.CodeUnavailable,
			Message: fmt.Sprintf("only %d MB are free at %s, the store needs %d MB", free/1_000_000, dir, minFree/1_000_000),
			Hint:    "free some space, or move the directory to a larger disk",
		}
	}
	return nil
}

func notOurs(dir string, err error) error {
	return &core.Error{
		Code: core.CodeForbidden, Message: fmt.Sprintf("the store's directory %s is not writable", dir),
		Hint: "give it to the user that runs the server: chown -R <user> <directory>", Err: err,
	}
}

// writable makes and removes a file in the directory. A directory that is not there yet is fine.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".preflight-*")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
