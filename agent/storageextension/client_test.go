package storageextension

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a storage whose disk can be full: then it reads, and takes nothing.
type disk struct {
	values  map[string]string
	full    bool
	most    int // values that fit, those that a batch removes included; 0: any number
	writes  int
	commits int
}

var _ storage.Client = (*disk)(nil)

func (d *disk) Get(context.Context, string) ([]byte, error) { panic("not used") }
func (d *disk) Set(context.Context, string, []byte) error   { panic("not used") }
func (d *disk) Delete(context.Context, string) error        { panic("not used") }
func (d *disk) Close(context.Context) error                 { return nil }
func (d *disk) Batch(_ context.Context, ops ...*storage.Operation) error {
	next, writes, held := maps.Clone(d.values), 0, maps.Clone(d.values)
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			if v, ok := next[op.Key]; ok {
				op.Value = []byte(v)
			}
		case storage.Set:
			next[op.Key] = string(op.Value)
			held[op.Key] = ""
			writes++
		case storage.Delete:
			delete(next, op.Key)
			writes++
		}
	}
	if (d.full && writes > 0) || (d.most > 0 && len(held) > d.most) {
		return syscall.ENOSPC
	}
	d.values, d.writes, d.commits = next, d.writes+writes, d.commits+1
	return nil
}

// room is a reserve in a folder that can be taken away, as a full disk would.
func room(t *testing.T) (r *reserve, away func(bool)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "queue")
	r = &reserve{path: filepath.Join(dir, reserveName)}
	away = func(gone bool) {
		var err error
		if gone {
			err = os.RemoveAll(dir)
		} else {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	away(false)
	return r, away
}

func text(s string) []byte { return []byte(s) }

// The batches of the Collector's queue.
func put(c *client, meta, key string) error {
	return c.Batch(context.Background(), storage.SetOperation("meta", text(meta)), storage.SetOperation(key, text("item "+key)))
}

func take(c *client, meta, key string) (string, error) {
	get := storage.GetOperation(key)
	err := c.Batch(context.Background(), storage.SetOperation("meta", text(meta)), get)
	return string(get.Value), err
}

func done(c *client, meta, key string) error {
	return c.Batch(context.Background(), storage.SetOperation("meta", text(meta)), storage.DeleteOperation(key))
}

func TestAFullDiskLosesNothingThatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{values: map[string]string{}}
		r, away := room(t)
		c := newClient(d, r, zap.NewNop())
		for _, step := range []error{put(c, "m1", "0"), put(c, "m2", "1"), put(c, "m3", "2")} {
			if step != nil {
				t.Fatal(step)
			}
		}
		if v, err := take(c, "m4", "0"); v != "item 0" || err != nil {
			t.Fatalf("took %q, %v", v, err)
		}
		d.full = true
		if v, err := take(c, "m5", "1"); v != "item 1" || err != nil {
			t.Errorf("on a full disk took %q, %v: the queue gives the item up", v, err)
		}
		if err := done(c, "m6", "0"); err != nil {
			t.Errorf("on a full disk an item cannot be done with: %v", err)
		}
		away(true) // what was the reserve is gone as well
		if err := put(c, "m7", "3"); err == nil {
			t.Error("a full disk took an item")
		}
		if d.values["meta"] != "m4" || d.values["0"] == "" {
			t.Errorf("the disk has %v", d.values)
		}

		d.full = false
		away(false)
		time.Sleep(2 * retake)
		if err := put(c, "m8", "4"); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if keys := slices.Sorted(maps.Keys(d.values)); !slices.Equal(keys, []string{"1", "2", "4", "meta"}) || d.values["meta"] != "m8" {
			t.Errorf("the disk has %v, what was owed is not made good", d.values)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// After a kill on a full disk the queue moves what was under way: none of it may be lost, whatever the disk takes.
func TestAStartOnAFullDiskLosesNothing(t *testing.T) {
	d := &disk{values: map[string]string{"meta": "m", "0": "item 0", "1": "item 1"}, full: true}
	r, away := room(t)
	if err := os.WriteFile(r.path, make([]byte, reserveSize), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(d, r, zap.NewNop())
	if err := c.Batch(t.Context(), storage.DeleteOperation("0"), storage.DeleteOperation("1")); err != nil || d.values["0"] == "" || d.values["1"] == "" {
		t.Fatalf("%v: removed before they are stored again: %v", err, d.values)
	}
	for _, step := range []error{put(c, "m1", "2"), put(c, "m2", "3")} {
		if step != nil {
			t.Fatalf("what was under way is given up: %v", step)
		}
	}
	if _, err := os.Stat(r.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve of the earlier run was not given up: %v", err)
	}
	get, gone := storage.GetOperation("3"), storage.GetOperation("1")
	if err := c.Batch(t.Context(), get, gone); err != nil || string(get.Value) != "item 3" || gone.Value != nil {
		t.Errorf("%v: read %q and %q", err, get.Value, gone.Value)
	}
	if v, err := take(c, "m3", "2"); v != "item 2" || err != nil {
		t.Errorf("took %q, %v", v, err)
	}
	d.full = false
	away(false)
	if err := done(c, "m4", "2"); err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(d.values)); !slices.Equal(keys, []string{"3", "meta"}) || d.values["meta"] != "m4" {
		t.Errorf("the disk has %v", d.values)
	}
}

func TestNewItemsDoNotTakeTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{values: map[string]string{}}
		r, away := room(t)
		c := newClient(d, r, zap.NewNop())
		for _, key := range []string{"0", "1", "2"} {
			if err := put(c, "m", key); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := take(c, "m", "0"); err != nil {
			t.Fatal(err)
		}
		if !r.hold(time.Now()) {
			t.Fatal("there is no reserve")
		}
		d.full = true
		if _, err := take(c, "m", "1"); err != nil || r.held {
			t.Errorf("the reserve is held: %t, %v", r.held, err)
		}
		// The reserve made room, and nobody has yet seen that the disk is full apart from it.
		d.full = false
		away(true)
		refused := 0
		for range 10 {
			if errors.Is(put(c, "m", "3"), storage.ErrStorageFull) {
				refused++
			}
		}
		if refused < 9 {
			t.Errorf("of 10 new items %d were refused", refused)
		}
		if err := done(c, "m", "0"); err != nil {
			t.Fatal(err)
		}
		if err := put(c, "m", "4"); err != nil {
			t.Errorf("there is room for as many as were removed: %v", err)
		}
		if err := put(c, "m", "5"); !errors.Is(err, storage.ErrStorageFull) {
			t.Errorf("and for no more: %v", err)
		}
	})
}

// serving is a client whose queue has handed out something, with its reserve.
func serving(t *testing.T, d *disk) *client {
	t.Helper()
	r, _ := room(t)
	if !r.hold(time.Now()) {
		t.Fatal("there is no reserve")
	}
	c := newClient(d, r, zap.NewNop())
	if err := put(c, "m", "first"); err != nil {
		t.Fatal(err)
	}
	if v, err := take(c, "m", "first"); v != "item first" || err != nil {
		t.Fatalf("took %q, %v", v, err)
	}
	if err := done(c, "m", "first"); err != nil {
		t.Fatal(err)
	}
	return c
}

// A queue that keeps pace costs one commit an item. What a kill leaves is the item that was done with last.
func TestAnItemCostsOneCommit(t *testing.T) {
	d := &disk{values: map[string]string{}}
	c := serving(t, d)
	before := d.commits
	const items = 50
	for i := range items {
		key := strconv.Itoa(i)
		if err := put(c, "put "+key, key); err != nil {
			t.Fatal(err)
		}
		if v, err := take(c, "take "+key, key); v != "item "+key || err != nil {
			t.Fatalf("took %q, %v", v, err)
		}
		if err := done(c, "done "+key, key); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.commits - before; n != items {
		t.Errorf("%d commits for %d items", n, items)
	}
	if want := map[string]string{"meta": "put 49", "49": "item 49"}; !maps.Equal(d.values, want) {
		t.Errorf("a kill leaves %v, want %v", d.values, want)
	}
	if err := c.Close(t.Context()); err != nil || !maps.Equal(d.values, map[string]string{"meta": "done 49"}) {
		t.Errorf("an end leaves %v, %v", d.values, err)
	}
}

// What is done with and still on the disk takes no room from what comes.
func TestWhatIsOwedMakesRoom(t *testing.T) {
	d := &disk{values: map[string]string{}, most: 2}
	c := serving(t, d)
	for _, key := range []string{"0", "1", "2"} {
		if err := put(c, "m", key); err != nil {
			t.Fatalf("item %s: %v", key, err)
		}
		if v, err := take(c, "m", key); v != "item "+key || err != nil {
			t.Fatalf("took %q, %v", v, err)
		}
		if err := done(c, "m", key); err != nil {
			t.Fatal(err)
		}
	}
	if !c.reserve.whole() {
		t.Error("the reserve was given up, and was not needed")
	}
}

// Whatever comes in whatever order, what was taken in and is not done with is on the disk and is read as it was, and little is kept at hand.
func TestNothingAtHandIsMissingOnTheDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &disk{values: map[string]string{}}
		c := serving(t, d)
		waiting, taken := []string{}, []string{}
		value := func(key string) []byte {
			n, _ := strconv.Atoi(key)
			return bytes.Repeat(text(key+" "), 1+n%3*freshLimit/8)
		}
		meta := storage.SetOperation("meta", text("m"))
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			key := strconv.Itoa(i)
			var err error
			switch what := rapid.SampledFrom([]string{"put", "take", "done", "kill"}).Draw(rt, "what"); {
			case what == "put":
				err = c.Batch(t.Context(), meta, storage.SetOperation(key, value(key)))
				waiting = append(waiting, key)
			case what == "take" && len(waiting) > 0:
				get := storage.GetOperation(waiting[0])
				if err = c.Batch(t.Context(), meta, get); !bytes.Equal(get.Value, value(get.Key)) {
					rt.Fatalf("item %s was read as %d bytes", get.Key, len(get.Value))
				}
				waiting, taken = waiting[1:], append(taken, waiting[0])
			case what == "done" && len(taken) > 0:
				err = done(c, "m", taken[0])
				taken = taken[1:]
			case what == "kill": // the queue reads again what was taken up, and does not hand out what it knows to be done with
				reserve := c.reserve
				c = newClient(d, reserve, zap.NewNop())
				c.serves = true
				waiting, taken = append(taken, waiting...), nil
			}
			if err != nil {
				rt.Fatal(err)
			}
			for _, key := range slices.Concat(waiting, taken) {
				if d.values[key] != string(value(key)) {
					rt.Fatalf("item %s is not on the disk", key)
				}
			}
			held := 0
			for _, v := range c.fresh {
				held += len(v)
			}
			if held != c.size || held > freshLimit {
				rt.Fatalf("%d bytes at hand, counted as %d", held, c.size)
			}
		}
	})
}

func TestItIsTheCollectorsFileStorage(t *testing.T) {
	f := NewFactory()
	cfg := f.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory, cfg.Compaction.Directory = t.TempDir(), t.TempDir()
	e, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	c, err := e.(storage.Extension).GetClient(t.Context(), component.KindExporter, component.MustNewID("x"), "metrics")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "a", text("1")); err != nil {
		t.Error(err)
	}
	if v, err := c.Get(t.Context(), "a"); string(v) != "1" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if err := errors.Join(c.Delete(t.Context(), "a"), c.Close(t.Context()), e.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(cfg.Directory, reserveName))
	if err != nil || info.Size() != reserveSize {
		t.Errorf("the reserve: %v, %v", info, err)
	}
}
