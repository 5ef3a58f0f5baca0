package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// passEvery is how long a pass takes that writes what a watch has learned: a part at each tick.
	passEvery = 5 * time.Minute
	// passRate is how many bytes of all watches are written in a second on average; with more to write passes take longer.
	passRate = 2 << 20
	// stateLimit is how many bytes the files may have together, those that are being written too: some 250000 series.
	stateLimit = 8 << 30
	// leastFree is how many bytes of the disk are left to the others that write there.
	leastFree = 500 << 20
	// pieceSize is about how many bytes go to the disk at a time, and pieces how many of them may wait for it.
	pieceSize = 1 << 18
	pieces    = 8
)

// keeper writes what the watches have learned to the disk, in a goroutine of its own: a disk that is slow makes no watch wait, only its
// state older.
type keeper struct {
	dir     string
	log     *slog.Logger
	metrics *metrics
	limit   int64
	free    func(dir string) (int64, error)

	turn  chan struct{} // to write down: one watch at a time, and a processor is left to others
	room  chan []byte   // for pieces; empty while the disk does not keep pace
	queue chan piece    // with room for as many as there are
	size  atomic.Int64  // of what all watches have learned, as far as that is known

	// Of its goroutine:
	open   map[string]*pass // by watch
	sizes  map[string]int64 // of the files in their places
	failed map[string]string
}

// pass is one writing of all that a watch has learned.
type pass struct {
	watch   string
	asked   time.Time // as in stateHead
	series  []*series // or rows
	rows    []string
	next    int // of them
	size    int // of them all, in models
	broken  atomic.Bool
	writer  *stateWriter // of the keeper alone
	written bool         // the head has been
}

// piece is what is to be written next.
type piece struct {
	pass *pass
	data []byte
	last bool
	err  error // of writing it down: the pass ends
}

func newKeeper(dir string, log *slog.Logger, m *metrics) *keeper {
	k := &keeper{
		dir: dir, log: log, metrics: m, limit: stateLimit, free: freeSpace, turn: make(chan struct{}, 1), room: make(chan []byte, pieces), queue: make(chan piece, pieces),
		open: map[string]*pass{}, sizes: map[string]int64{}, failed: map[string]string{},
	}
	for range pieces {
		k.room <- nil
	}
	return k
}

// freeSpace is how many bytes are free on the disk of a directory.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:gosec,unconvert // no disk is so large; the types differ between systems
}

// tidy removes what was not finished, and the files of watches that there are no more.
func (k *keeper) tidy(watches []*watcher) {
	own := map[string]string{}
	for _, w := range watches {
		own[filepath.Base(statePath(k.dir, w.watch.Name))] = w.watch.Name
	}
	files, err := os.ReadDir(k.dir)
	if err != nil {
		return // there is none yet; what else is wrong is said when something is written
	}
	for _, f := range files {
		watch, ours := own[f.Name()]
		info, err := f.Info()
		switch {
		case ours && err == nil:
			k.sizes[watch] = info.Size()
		case strings.HasSuffix(f.Name(), stateSuffix), strings.HasSuffix(f.Name(), partialSuffix):
			_ = os.Remove(filepath.Join(k.dir, f.Name()))
		}
	}
	k.count()
}

// start writes what comes until stop is called, which waits for the piece that is being written. What is not finished then is given up; so is
// what comes after ctx is done.
func (k *keeper) start(ctx context.Context) (stop func()) {
	ended, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer k.giveUp()
		for {
			select {
			case <-end:
				return
			case <-ctx.Done():
				<-end
				return
			case x := <-k.queue:
				k.take(x)
				k.room <- x.data[:0]
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// giveUp leaves what is not finished.
func (k *keeper) giveUp() {
	for {
		select {
		case x := <-k.queue:
			k.room <- x.data[:0]
			continue
		default:
		}
		break
	}
	for _, p := range k.open {
		p.writer.abort()
	}
	clear(k.open)
	k.count()
}

// waitRoom is room for a piece, for which the disk has to keep pace; false: ctx is done first.
func (k *keeper) waitRoom(ctx context.Context) (buf []byte, ok bool) {
	select {
	case buf = <-k.room:
		return buf, true
	case <-ctx.Done():
		return nil, false
	}
}

// take writes a piece. After an error the rest of the pass is not written.
func (k *keeper) take(x piece) {
	if x.pass.broken.Load() {
		return
	}
	done, err := k.write(x)
	if err != nil || done {
		delete(k.open, x.pass.watch)
		k.note(x.pass, err)
	}
	k.count()
}

func (k *keeper) write(x piece) (done bool, err error) {
	p := x.pass
	if x.err != nil {
		if p.writer != nil {
			p.writer.abort()
		}
		return false, x.err
	}
	if p.writer == nil {
		if before := k.open[p.watch]; before != nil { // given up by its watch
			before.writer.abort()
			delete(k.open, p.watch)
		}
		if err := os.MkdirAll(k.dir, 0o700); err != nil {
			return false, err //nolint:wrapcheck // it names the path
		}
		if p.writer, err = createState(statePath(k.dir, p.watch)); err != nil {
			return false, err
		}
		k.open[p.watch] = p
	}
	err = k.mayWrite(int64(len(x.data)))
	if err == nil {
		_, err = p.writer.Write(x.data)
	}
	if err != nil {
		p.writer.abort()
		return false, err
	}
	if x.last {
		return true, p.writer.finish()
	}
	return false, nil
}

// mayWrite says why so many bytes may not be written.
func (k *keeper) mayWrite(n int64) error {
	total := n
	for _, size := range k.sizes {
		total += size
	}
	for _, p := range k.open {
		total += p.writer.size
	}
	if total > k.limit {
		return fmt.Errorf("what all watches have learned takes more than %d MB", k.limit>>20)
	}
	free, err := k.free(k.dir)
	if err == nil && free-n < leastFree {
		err = fmt.Errorf("the disk has %d MB left, and %d MB are left to others", free>>20, leastFree>>20)
	}
	return err
}

// count adds up what the watches have learned: each as it is in its place, or as far as it is written where that is more.
func (k *keeper) count() {
	known := maps.Clone(k.sizes)
	for watch, p := range k.open {
		known[watch] = max(known[watch], p.writer.size)
	}
	total := int64(0)
	for _, n := range known {
		total += n
	}
	k.size.Store(total)
}

// note tells how a pass ended: a failure when it is of another kind than the last one of the watch.
func (k *keeper) note(p *pass, err error) {
	if err == nil {
		k.sizes[p.watch] = p.writer.size
		k.metrics.savedBytes.WithLabelValues(p.watch).Set(float64(p.writer.size))
		k.metrics.savedAt.WithLabelValues(p.watch).Set(float64(p.asked.UnixMilli()) / 1000)
		if k.failed[p.watch] != "" {
			k.log.Info("what the watch has learned is saved again", slog.String("watch", p.watch))
		}
		delete(k.failed, p.watch)
		return
	}
	p.broken.Store(true)
	k.metrics.saveErrors.WithLabelValues(p.watch).Inc()
	kind := err.Error()
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		kind = no.Error()
	}
	if k.failed[p.watch] == kind {
		return
	}
	k.failed[p.watch] = kind
	k.log.Warn("what the watch has learned cannot be saved; it goes on, and a restart reads the past again", slog.String("watch", p.watch),
		slog.Any("error", err))
}

// every is how long a pass takes.
func (k *keeper) every() time.Duration {
	return max(passEvery, time.Duration(k.size.Load()/passRate)*time.Second)
}
