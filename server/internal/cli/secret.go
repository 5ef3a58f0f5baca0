package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// secretFile is a file that only its owner can read and that takes its name only when it is whole.
type secretFile struct {
	path string
	tmp  *os.File
	size int64
}

// openSecret makes sure that the file can be written; nil for none.
func openSecret(path string, force bool) (*secretFile, error) {
	if path == "" || path == "-" {
		return nil, nil //nolint:nilnil // no file is asked for
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) && !force {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: path + " is there already", Err: err, Hint: "name another file, or give --force to replace it",
		}
	}
	// Made with mode 0600, under a name that no earlier try can have left.
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: path + " cannot be written", Err: err, Hint: "name a file in a directory that you may write to",
		}
	}
	return &secretFile{path: path, tmp: tmp}, nil
}

func (f *secretFile) Write(b []byte) (int, error) {
	n, err := f.tmp.Write(b)
	f.size += int64(n)
	return n, err
}

func (f *secretFile) keepText(text string) error {
	if _, err := f.Write([]byte(text)); err != nil {
		return errors.Join(err, f.drop())
	}
	return f.keep()
}

// keep gives the file its name. After an error there is no file.
func (f *secretFile) keep() error {
	err := f.tmp.Sync()
	if err = errors.Join(err, f.tmp.Close()); err == nil {
		err = os.Rename(f.tmp.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.tmp.Name()))
	}
	return nil
}

func (f *secretFile) drop() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.tmp.Close(), os.Remove(f.tmp.Name()))
}
