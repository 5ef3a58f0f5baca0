package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
)

// States of a link, as contracts.md names them.
const (
	CaughtUp   = "caught_up"
	CatchingUp = "catching_up"
	LinkDown   = "link_down"
	Stopped    = "applier_stopped"
)

// originHeader holds the sequence that a message has in its home stream.
const originHeader = "Lab-Origin-Seq"

const batchSize = 256

// LinkStatus is the state of one copy, as the applying site sees it.
type LinkStatus struct {
	Link    string `json:"link"` // orders:<from>><to>, data flows from the first to the second
	State   string `json:"state"`
	Applied uint64 `json:"applied"`           // origin's sequence of the last message in the copy
	Source  uint64 `json:"source,omitempty"`  // origin's last sequence, as last heard
	Behind  uint64 `json:"behind"`            // Source minus Applied; means nothing while the link is down
	HeardNS int64  `json:"heard_ns,omitzero"` // when the origin was last heard, unix ns
	Error   string `json:"error,omitempty"`
	// CompleteNS: all that the origin had then is in the copy, unix ns.
	CompleteNS int64 `json:"complete_ns,omitzero"`

	waiting int64 // when the order that is applied now was written at its origin, unix ns; 0: none is

	limit  float64 // orders a second that the present batch was asked for with
	asked  int64   // when the origin was asked how far it is, unix ns
	wanted uint64  // what it answered
}

// link copies one peer's orders.
type link struct {
	bus    *Bus
	peer   string
	addr   string
	mu     sync.Mutex
	status LinkStatus
}

func newLink(b *Bus, peer, addr string) *link {
	return &link{
		bus: b, peer: peer, addr: addr,
		status: LinkStatus{Link: "orders:" + peer + ">" + b.o.Site, State: LinkDown},
	}
}

func (l *link) snapshot() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *link) update(f func(*LinkStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.status)
}

// run copies until ctx ends: one connection after the other.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		before := l.snapshot()
		state, text := LinkDown, ""
		switch {
		case errors.Is(err, errPaused):
			state = Stopped
		case err != nil:
			text = err.Error()
		}
		if before.State != state || before.Error != text {
			l.bus.o.Log.Warn("replication stands", slog.String("link", before.Link), slog.String("state", state), slog.Any("error", err))
		}
		l.update(func(s *LinkStatus) { s.State, s.Error, s.waiting = state, text, 0 })
		rest(ctx, 500*time.Millisecond)
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

var errPaused = errors.New("the applier is stopped")

func (l *link) paused() bool {
	k, err := knob.Read[knob.Bus](l.bus.o.Knob)
	return err == nil && k.Paused
}

// limit is how many orders a second are applied at most; 0 is no limit.
func (l *link) limit() float64 {
	k, err := knob.Read[knob.Bus](l.bus.o.Knob)
	if err != nil {
		return 0
	}
	return k.PerSecond
}

// session is one connection to the source, from the last copied message on.
func (l *link) session(ctx context.Context) error {
	if l.paused() {
		return errPaused
	}
	applied, err := l.applied(ctx)
	if err != nil {
		return err
	}
	l.update(func(s *LinkStatus) { s.Applied = applied })
	// A connection that is cut shows itself by missing pongs: about three seconds.
	nc, err := nats.Connect("nats://"+l.addr, nats.NoReconnect(), nats.Timeout(2*time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Name("copy for "+l.bus.o.Site))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", l.peer, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		return fmt.Errorf("open jetstream of %s: %w", l.peer, err)
	}
	source, err := js.Stream(ctx, Stream(l.peer))
	if err != nil {
		return fmt.Errorf("find stream at %s: %w", l.peer, err)
	}
	consumer, err := source.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: applied + 1,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 30 * time.Second, MemoryStorage: true,
	})
	if err != nil {
		return fmt.Errorf("read stream of %s: %w", l.peer, err)
	}
	return l.copy(ctx, nc, source, consumer)
}

// applied is how far the copy is, read from the copy itself.
func (l *link) applied(ctx context.Context) (uint64, error) {
	s, err := l.bus.js.Stream(ctx, Stream(l.peer))
	if err != nil {
		return 0, fmt.Errorf("find the copy: %w", err)
	}
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return 0, nil
	}
	m, err := s.GetMsg(ctx, last)
	if err != nil {
		return 0, fmt.Errorf("read the copy's last message: %w", err)
	}
	n, err := strconv.ParseUint(m.Header.Get(originHeader), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the copy's last message has no origin: %w", err)
	}
	return n, nil
}

// copy moves batches until something breaks.
func (l *link) copy(ctx context.Context, nc *nats.Conn, source jetstream.Stream, consumer jetstream.Consumer) error {
	next := uint64(1) // of the consumer: a hole means that something was lost on the way
	for ctx.Err() == nil {
		if l.paused() {
			return errPaused
		}
		asked := time.Now().UnixNano()
		info, err := source.Info(ctx)
		if err != nil {
			return fmt.Errorf("ask %s how far it is: %w", l.peer, err)
		}
		l.update(func(s *LinkStatus) {
			s.heard(info.State.LastSeq)
			s.asked, s.wanted = asked, info.State.LastSeq
			s.complete()
		})
		size, limit := batchSize, l.limit()
		if limit > 0 {
			size = int(min(max(limit, 1), batchSize)) // a second's worth: the knob and the source are looked at as often
		}
		l.update(func(s *LinkStatus) { s.limit = limit })
		batch, err := consumer.Fetch(size, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return fmt.Errorf("pull from %s: %w", l.peer, err)
		}
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return fmt.Errorf("read metadata: %w", err)
			}
			if meta.Sequence.Consumer != next {
				return fmt.Errorf("message %d came where %d was due", meta.Sequence.Consumer, next)
			}
			next++
			l.update(func(s *LinkStatus) { s.waiting = meta.Timestamp.UnixNano() })
			if limit > 0 {
				rest(ctx, time.Duration(float64(time.Second)/limit))
			}
			if err := l.apply(ctx, msg, meta); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return fmt.Errorf("pull from %s: %w", l.peer, err)
		}
		if !nc.IsConnected() {
			return fmt.Errorf("connection to %s is lost: %w", l.peer, nc.LastError())
		}
	}
	return nil
}

// heard notes the source's last sequence.
func (s *LinkStatus) heard(last uint64) {
	s.Source, s.HeardNS, s.Error = max(last, s.Applied), time.Now().UnixNano(), ""
	s.Behind = s.Source - s.Applied
	s.State = CaughtUp
	if s.Behind > batchSize/4 {
		s.State = CatchingUp
	}
}

// complete notes when the copy has all that the origin had when it was asked last.
func (s *LinkStatus) complete() {
	if s.asked != 0 && s.Applied >= s.wanted {
		s.CompleteNS = s.asked
	}
}

// apply writes one message into the copy. Its id keeps a repeated write from being stored twice.
func (l *link) apply(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
	origin := strconv.FormatUint(meta.Sequence.Stream, 10)
	out := &nats.Msg{Subject: Subject(l.peer), Data: msg.Data(), Header: nats.Header{}}
	out.Header.Set(originHeader, origin)
	out.Header.Set(nats.MsgIdHdr, l.peer+"-"+origin)
	if _, err := l.bus.js.PublishMsg(ctx, out); err != nil {
		return fmt.Errorf("write the copy: %w", err)
	}
	l.update(func(s *LinkStatus) {
		s.Applied, s.waiting = meta.Sequence.Stream, 0
		s.heard(meta.Sequence.Stream + meta.NumPending)
		s.complete()
	})
	return nil
}
