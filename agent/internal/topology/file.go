package topology

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is the name of the state in the data directory.
const FileName = "topology.json"

// Load reads the state kept in the directory. ok is false when there is none; a file that cannot be read as a
// state is an error, and the agent waits for a server instead.
func Load(dir string) (s State, ok bool, err error) {
	file, err := os.Open(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("open kept state: %w", err)
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return State{}, false, fmt.Errorf("read kept state: %w", err)
	}
	if s, err = Parse(raw); err != nil {
		return State{}, false, fmt.Errorf("kept state %s: %w", file.Name(), err)
	}
	return s, true, nil
}

// Keep writes the state so that after a crash either the old or the new one is there, whole.
func Keep(dir string, raw []byte) error {
	return WriteFile(filepath.Join(dir, FileName), raw)
}

// WriteFile replaces a file atomically and durably: write beside it, fsync, rename, fsync the directory.
func WriteFile(path string, raw []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	if _, err := file.Write(raw); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
