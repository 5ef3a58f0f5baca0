package detect

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A state file is what one watch has learned: a line of JSON, the records, and the SHA-256 of both. It is written beside its place and renamed
// when it is whole and on the disk, so that a kill leaves the one before. One whose sum is another is not looked into.
const (
	// stateFormat is raised when the meaning of a record changes. The models have versions of their own.
	stateFormat = 1

	stateSuffix   = ".state"
	partialSuffix = ".state.partial"
	maxStateHead  = 1 << 16

	// syncEvery is after how many bytes those that were written are brought to the disk: at the end there are few left, for who else
	// writes there waits meanwhile.
	syncEvery = 4 << 20
)

// stateHead is the first line of a state file.
type stateHead struct {
	Format      int
	Watch       string
	Fingerprint string    // of the definition of the watch
	Asked       time.Time // every series knows what came until then, and some know more
	Series      int
	Special     string // what was special in the training window then
}

// fingerprint tells a watch from the same one with another definition. What a model learned for one is not what it would have learned for the other.
func (w Watch) fingerprint() (string, error) {
	b, err := json.Marshal(w.Filled())
	if err != nil {
		return "", fmt.Errorf("fingerprint of watch %q: %w", w.Name, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// statePath is where the state of a watch is kept. A name may have what no file name can.
func statePath(dir, watch string) string {
	sum := sha256.Sum256([]byte(watch))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+stateSuffix)
}

// stateWriter writes one state file.
type stateWriter struct {
	path string
	file *os.File
	sum  hash.Hash
	size int64
	late int64 // bytes that may not be on the disk
}

func createState(path string) (*stateWriter, error) {
	file, err := os.OpenFile(strings.TrimSuffix(path, stateSuffix)+partialSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	return &stateWriter{path: path, file: file, sum: sha256.New()}, nil
}

func (s *stateWriter) Write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	s.sum.Write(b[:n])
	s.size += int64(n)
	if s.late += int64(n); err == nil && s.late >= syncEvery {
		s.late, err = 0, s.file.Sync()
	}
	return n, err //nolint:wrapcheck // it names the path
}

// finish puts the file in its place.
func (s *stateWriter) finish() error {
	_, err := s.file.Write(s.sum.Sum(nil))
	if err == nil {
		err = s.file.Sync()
	}
	if err = errors.Join(err, s.file.Close()); err == nil {
		err = os.Rename(s.file.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(s.file.Name())
		return err //nolint:wrapcheck // it names the path
	}
	s.size += sha256.Size
	return syncDir(filepath.Dir(s.path))
}

// abort leaves the file that is in its place.
func (s *stateWriter) abort() {
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}

// syncDir has the names in a directory outlive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err //nolint:wrapcheck // it names the path
	}
	return errors.Join(d.Sync(), d.Close())
}

// errDamaged is of a file that is not as it was written.
var errDamaged = errors.New("the file is damaged")

// openState opens a state file that is as it was written, and reads its head; what follows are the records. The error is fs.ErrNotExist when there is none.
func openState(ctx context.Context, path string) (head stateHead, records io.Reader, done func(), err error) {
	file, err := os.Open(path) //nolint:gosec // of the data directory
	if err != nil {
		return head, nil, nil, err //nolint:wrapcheck // it names the path
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return head, nil, nil, err //nolint:wrapcheck // it names the path
	}
	body := info.Size() - sha256.Size
	if body <= 0 {
		return head, nil, nil, errDamaged
	}
	sum := sha256.New()
	for left := body; left > 0 && err == nil; {
		var n int64
		n, err = io.Copy(sum, io.LimitReader(file, min(left, 1<<24)))
		if err == nil && (n == 0 || ctx.Err() != nil) {
			err = errors.Join(errDamaged, ctx.Err())
		}
		left -= n
	}
	if err != nil {
		return head, nil, nil, fmt.Errorf("read it: %w", err)
	}
	want, err := io.ReadAll(file)
	if err == nil && !bytes.Equal(want, sum.Sum(nil)) {
		err = errDamaged
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return head, nil, nil, fmt.Errorf("read it: %w", err)
	}
	r := bufio.NewReaderSize(io.LimitReader(file, body), maxStateHead)
	line, err := r.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &head)
	}
	if err != nil {
		return head, nil, nil, fmt.Errorf("its first line: %w", err)
	}
	return head, r, func() { _ = file.Close() }, nil
}
