package nats

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// The harness knows when each message was stored and when it could be read at the copy. The bounds that are reported at a
// moment enclose the true lag at that moment.
func TestTruth(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.complete()
	tr := replicatest.NewTruth(t, func(i int) error {
		_, err := p.origin.js.Publish(context.Background(), "orders.n", []byte(strconv.Itoa(i+1)))
		return err
	})
	read := func(name string) *replicatest.Copy {
		s, err := p.copied.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return tr.Copy(func() (int, error) {
			m, err := s.GetLastMsgForSubject(context.Background(), "orders.n")
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return 0, nil
			}
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(string(m.Data))
		})
	}
	mirrored, sourced := read("ORDERS"), read("ALL")
	tr.Watch("nats both ends", p.both.At, mirrored)
	tr.Watch("nats source", p.giver.At, mirrored)
	tr.Watch("nats fan-in", p.fan.At, sourced)
	tr.Run(
		replicatest.Step{For: 4 * time.Second},
		replicatest.Step{For: 6 * time.Second, Do: func() { p.relay.Hold(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.relay.Hold(false) }},
		replicatest.Step{For: 2 * time.Second, Do: func() { p.relay.Slow(20_000) }},
		replicatest.Step{For: time.Second, Do: func() { p.relay.Slow(0) }},
		replicatest.Step{For: time.Second, Do: func() { p.relay.Hold(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.relay.Hold(false) }},
	)
}
