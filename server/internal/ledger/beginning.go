package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// beginningFile stands in the directory of an etcd that begins a ledger until the ledger has its identity. An etcd that is
// killed while it makes its first files waits for ever for a leader when it is started with them again.
const beginningFile = "beginning"

// prepare readies the directory of etcd. What a beginning left that was cut off is removed: nothing is on record there.
// begins says that this start begins a ledger where there is none.
func prepare(dir string, begins bool) error {
	sign := filepath.Join(dir, beginningFile)
	cut, err := cutOff(dir)
	if err != nil {
		return err
	}
	if cut {
		if err := os.RemoveAll(filepath.Join(dir, "member")); err != nil {
			return notUsable(dir, err)
		}
		if !begins {
			return signed(dir, os.Remove(sign))
		}
		return nil
	}
	has, err := hasLedger(dir)
	if has || err != nil || !begins {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return notUsable(dir, err)
	}
	return signed(dir, writeFile(sign, ""))
}

// cutOff reports whether a directory of etcd is that of a ledger that has not begun.
func cutOff(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, beginningFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, notUsable(dir, err)
	}
	return true, nil
}

// begunForGood removes the sign, before anything is on record that could be missed.
func begunForGood(dir string) error {
	if cut, err := cutOff(dir); !cut || err != nil {
		return err
	}
	return signed(dir, os.Remove(filepath.Join(dir, beginningFile)))
}

// signed makes a change of the sign outlive a loss of power.
func signed(dir string, err error) error {
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return notUsable(dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
