package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
)

// Event is the begin or the end of a fault.
type Event struct {
	ID     int    `json:"id"`
	Event  string `json:"event"`        // start or end
	AtNS   int64  `json:"at_unix_ns"`   // when it was begun to be done
	DoneNS int64  `json:"done_unix_ns"` // when all of it was done
	Text   string `json:"text"`         // as one would type it
	Site   string `json:"site"`         // or a replica
	Kind   string `json:"kind"`
	Error  string `json:"error,omitempty"`
}

// Fault breaks something. It returns when it is broken; for an event (reload, restart) when it is over.
func (b *Lab) Fault(ctx context.Context, f layout.Fault) (Event, error) {
	b.op.Lock()
	defer b.op.Unlock()
	b.mu.Lock()
	b.lastID++
	f.ID = b.lastID
	if !f.Passes() {
		b.active = append(b.active, f)
	}
	b.mu.Unlock()
	at := time.Now()
	var err error
	switch f.Kind {
	case layout.Reload:
		err = b.reload(f)
	case layout.Restart:
		err = b.restart(ctx, f)
	default:
		err = b.reconcile()
	}
	e := b.record(f, "start", at, err)
	if f.Passes() {
		b.record(f, "end", time.Now(), nil)
	}
	if f.For > 0 {
		// Counted from the beginning, as the fault is.
		b.mu.Lock()
		b.timers[f.ID] = time.AfterFunc(f.For-time.Since(at), func() { b.expire(f.ID) })
		b.mu.Unlock()
	}
	return e, err
}

// expire ends a fault whose time is up.
func (b *Lab) expire(id int) {
	b.op.Lock()
	defer b.op.Unlock()
	b.end(func(f layout.Fault) bool { return f.ID == id })
}

// Heal ends the faults that concern the site, or all of them for the empty name. A fault at all sites ends as a
// whole.
func (b *Lab) Heal(site string) []Event {
	b.op.Lock()
	defer b.op.Unlock()
	return b.end(func(f layout.Fault) bool { return site == "" || f.Concerns(site) })
}

// end takes the chosen faults away. The caller has b.op.
func (b *Lab) end(chosen func(layout.Fault) bool) []Event {
	b.mu.Lock()
	var gone []layout.Fault
	b.active = slices.DeleteFunc(b.active, func(f layout.Fault) bool {
		if chosen(f) {
			gone = append(gone, f)
			return true
		}
		return false
	})
	for _, f := range gone {
		if t := b.timers[f.ID]; t != nil {
			t.Stop()
			delete(b.timers, f.ID)
		}
	}
	b.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	at := time.Now()
	err := b.reconcile()
	var out []Event
	for _, f := range gone {
		out = append(out, b.record(f, "end", at, err))
	}
	return out
}

func (b *Lab) stopTimers() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.timers {
		t.Stop()
	}
}

// record writes an event down and tells it.
func (b *Lab) record(f layout.Fault, what string, at time.Time, failure error) Event {
	e := Event{ID: f.ID, Event: what, AtNS: at.UnixNano(), DoneNS: time.Now().UnixNano(), Text: f.String(), Site: f.Site, Kind: f.Kind}
	if failure != nil {
		e.Error = failure.Error()
	}
	raw, err := json.Marshal(e)
	if err == nil {
		_, err = b.faultsF.Write(append(raw, '\n'))
	}
	if err != nil {
		b.o.Log.Error("fault is not written down", slog.Any("error", err))
	}
	b.story.fault(at, what, f)
	return e
}

// reconcile makes the world what the active faults say, and nothing else.
func (b *Lab) reconcile() error {
	b.mu.Lock()
	faults := slices.Clone(b.active)
	b.mu.Unlock()
	b.processes(faults)
	for name, m := range b.l.Modes(faults) {
		b.cables[name].Set(m)
	}
	return b.turn(faults)
}

// processes kills, starts, freezes and thaws.
func (b *Lab) processes(faults []layout.Fault) {
	down, frozen := map[string]bool{}, map[string]bool{}
	for _, f := range faults {
		switch f.Kind {
		case layout.Kill:
			for _, p := range b.inhabitants(f.Site) {
				down[p] = true
			}
		case layout.KillService:
			down["shop-"+f.Site] = true
		case layout.Pause:
			for _, p := range b.inhabitants(f.Site) {
				frozen[p] = true
			}
		}
	}
	b.mu.Lock()
	children := make(map[string]interface {
		Kill()
		Start()
		Freeze()
		Thaw()
	}, len(b.children))
	for name, c := range b.children {
		children[name] = c
	}
	b.mu.Unlock()
	var all sync.WaitGroup
	for name, c := range children {
		all.Go(func() {
			switch {
			case down[name]:
				c.Kill()
			case frozen[name]:
				c.Freeze()
			default:
				c.Thaw()
				c.Start()
			}
		})
	}
	all.Wait()
}

// inhabitants are the processes at a site or a witness, or the one of a replica. A replica shares the fate of the place
// where it stands.
func (b *Lab) inhabitants(place string) []string {
	out := []string{"shop-" + place, "nats-" + place, "agent-" + place}
	for _, s := range b.l.Servers() {
		if s.At == place || s.Name == place {
			out = append(out, s.Process())
		}
	}
	return out
}

// turn writes the faults of our own processes where they look.
func (b *Lab) turn(faults []layout.Fault) error {
	want := map[string]any{}
	var lying []string
	for _, s := range b.l.Sites {
		var shop knob.Shop
		var bus knob.Bus
		for _, f := range faults {
			if !f.At(s) {
				continue
			}
			switch f.Kind {
			case layout.Slow:
				shop.SlowSeconds = max(shop.SlowSeconds, f.Amount)
			case layout.Errors:
				shop.Errors = max(shop.Errors, f.Amount/100)
			case layout.Lag:
				bus = slower(bus, f.Amount)
			case layout.Lying:
				lying = append(lying, s)
			}
		}
		want["shop-"+s], want["nats-"+s] = shop, bus
	}
	slices.Sort(lying)
	want["director"] = knob.Director{Lying: slices.Compact(lying)}
	for name, v := range want {
		raw, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the faults of %s: %w", name, err)
		}
		if b.knobs[name] == string(raw) {
			continue
		}
		if err := knob.Write(b.f.Knob(name), v); err != nil {
			return err
		}
		b.knobs[name] = string(raw)
	}
	return nil
}

// slower is a replicator that applies at most so many orders a second, or none at 0: of two faults the harder one.
func slower(k knob.Bus, perSecond float64) knob.Bus {
	switch {
	case perSecond == 0:
		k.Paused = true
	case k.PerSecond == 0:
		k.PerSecond = perSecond
	default:
		k.PerSecond = min(k.PerSecond, perSecond)
	}
	return k
}

// reload has the shops reload, as their operator would.
func (b *Lab) reload(f layout.Fault) error {
	for _, s := range b.l.Sites {
		if !f.At(s) {
			continue
		}
		if c := b.child("shop-" + s); c != nil {
			if err := c.Signal(syscall.SIGHUP); err != nil {
				return err
			}
		}
	}
	return nil
}

// restart restarts a replica, or the shops one after the other; the next one only when the last one is healthy again.
func (b *Lab) restart(ctx context.Context, f layout.Fault) error {
	if r, ok := b.l.Replica(f.Site); ok {
		return b.restartReplica(ctx, r)
	}
	for _, s := range b.l.Sites {
		c := b.child("shop-" + s)
		if c == nil || !f.At(s) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.Restart(one)
		cancel()
		if err != nil {
			return err
		}
		if err := b.until(ctx, "the shop at "+s, "http://"+b.l.Shop(s)+"/healthz", 30*time.Second); err != nil {
			return err
		}
	}
	return nil
}
