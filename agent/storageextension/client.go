package storageextension

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"
)

// client is the file of one queue. It is safe for concurrent use.
type client struct {
	storage.Client
	log     *zap.Logger
	reserve *reserve
	mu      sync.Mutex
	serves  bool                 // it has handed out an item
	owed    []*storage.Operation // writes that wait for the next new item, or that the disk did not take; at most one a key
	fresh   map[string][]byte    // new items that nobody has taken up yet
	size    int                  // bytes of fresh
	room    int                  // items removed while the reserve is gone, less those that came
	tried   time.Time            // when an item was tried without room
	failed  bool                 // what was last logged
}

var _ storage.Client = (*client)(nil)

func newClient(inner storage.Client, r *reserve, log *zap.Logger) *client {
	return &client{Client: inner, reserve: r, log: log, fresh: map[string][]byte{}}
}

// freshLimit is how many bytes of new items are kept at hand: what waits longer is read from the disk.
const freshLimit = 256 << 10

// Get reads a value.
func (c *client) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

// Set stores a value, or fails.
func (c *client) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

// Delete removes a value.
func (c *client) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

// Batch does all operations or none. New items are refused while the disk has no room but the reserve. A batch that
// reads or removes something may use the reserve, and does not fail because its writes did: the queue would take the
// item for lost. These writes are owed then, and done with the next batch that succeeds.
//
// They are owed as well when a fresh item is taken up, and when any is done with: each commit costs two syncs of the file, and the next
// new item brings one. A kill before that has the items sent once more that were done with since the last one.
func (c *client) Batch(ctx context.Context, ops ...*storage.Operation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var reads, writes []*storage.Operation
	removes := false
	for _, op := range ops {
		if op.Type == storage.Get {
			reads = append(reads, op)
			continue
		}
		writes = append(writes, op)
		removes = removes || op.Type == storage.Delete
	}
	// At its start the queue moves what was under way, before it hands out anything: it removes all of it, then stores it
	// again, one item after the other. What is removed waits for the first of them, and what the disk does not take is owed.
	c.serves = c.serves || len(reads) > 0 && len(writes) > 0
	if !c.serves && removes {
		c.owe(writes...)
		return nil
	}
	isNew := c.serves && len(reads) == 0 && !removes
	if isNew && !c.fits(time.Now()) {
		c.note(storage.ErrStorageFull)
		return storage.ErrStorageFull
	}
	if c.serves && !isNew && !c.failed && c.reserve.whole() && c.atHand(reads) {
		c.owe(writes...)
		return nil
	}
	if isNew {
		err := c.commit(ctx, ops...)
		if err != nil && len(c.owed) > 0 && c.force(ctx) == nil && c.fits(time.Now()) {
			err = c.commit(ctx, ops...) // what was owed has made room
		}
		if c.note(err); err == nil {
			c.keep(writes)
		}
		return err
	}
	err := c.force(ctx, ops...)
	if err == nil {
		return nil
	}
	c.note(err)
	if len(reads) > 0 {
		if failed := c.Client.Batch(ctx, reads...); failed != nil {
			return errors.Join(err, failed)
		}
		c.recall(reads)
	}
	c.owe(writes...)
	return nil
}

// commit does the operations after what is owed, all or none.
func (c *client) commit(ctx context.Context, ops ...*storage.Operation) error {
	all := slices.Concat(c.owed, ops)
	if err := c.Client.Batch(ctx, all...); err != nil {
		return err
	}
	c.owed = nil
	for _, op := range all {
		if op.Type == storage.Delete {
			c.room++
		}
		c.drop(op.Key)
	}
	return nil
}

// force is a commit for which the reserve may be given up.
func (c *client) force(ctx context.Context, ops ...*storage.Operation) error {
	err := c.commit(ctx, ops...)
	if err == nil {
		return nil
	}
	if failed := c.reserve.release(time.Now()); failed != nil {
		return errors.Join(err, failed)
	}
	return c.commit(ctx, ops...)
}

// keep has what was stored at hand until it is taken up, as much of it as may be.
func (c *client) keep(writes []*storage.Operation) {
	for _, op := range writes {
		if c.size+len(op.Value) <= freshLimit {
			c.size += len(op.Value)
			c.fresh[op.Key] = op.Value
		}
	}
}

// atHand reads what is fresh, which is no more from then on. It reports false, and changes nothing, when something is not.
func (c *client) atHand(reads []*storage.Operation) bool {
	for _, get := range reads {
		if _, ok := c.fresh[get.Key]; !ok {
			return false
		}
	}
	for _, get := range reads {
		get.Value = c.fresh[get.Key]
		c.drop(get.Key)
	}
	return true
}

func (c *client) drop(key string) {
	c.size -= len(c.fresh[key])
	delete(c.fresh, key)
}

// recall puts what is owed into what was read without it.
func (c *client) recall(reads []*storage.Operation) {
	for _, get := range reads {
		for _, op := range c.owed {
			if op.Key == get.Key {
				get.Value = op.Value // of a removal there is none
			}
		}
	}
}

// fits reports whether a new item may be tried. A file does not shrink when items leave it, so that a full disk has room
// for as many as were removed; and for one now and then, since it may have had room before.
func (c *client) fits(now time.Time) bool {
	switch {
	case c.reserve.hold(now):
		c.room = 0
	case c.room > 0:
		c.room--
	case now.Sub(c.tried) < retake:
		return false
	default:
		c.tried = now
	}
	return true
}

// owe keeps writes; an older one to the same key is void.
func (c *client) owe(writes ...*storage.Operation) {
	for _, op := range writes {
		c.drop(op.Key)
		c.owed = slices.DeleteFunc(c.owed, func(old *storage.Operation) bool { return old.Key == op.Key })
		c.owed = append(c.owed, op)
	}
}

// note logs when the disk begins or ends to refuse writes.
func (c *client) note(err error) {
	switch {
	case err != nil && !c.failed:
		c.log.Warn("the queue on disk cannot be written: make room for it. What waits is sent, what comes is refused and counted", zap.Error(err))
	case err == nil && c.failed:
		c.log.Info("the queue on disk can be written again")
	}
	c.failed = err != nil
}

// Close writes what is owed, if it can.
func (c *client) Close(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if len(c.owed) > 0 {
		err = c.Client.Batch(ctx, c.owed...)
	}
	return errors.Join(err, c.Client.Close(ctx))
}
