package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	driver "github.com/redis/go-redis/v9"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// The harness knows when each write was committed and when it could be read at the copy. The bounds that are reported at
// a moment enclose the true lag at that moment.
func TestTruth(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.complete()
	tr := replicatest.NewTruth(t, func(i int) error {
		return p.primary.admin.Set(context.Background(), "n", i+1, 0).Err()
	})
	seen := tr.Copy(func() (int, error) {
		text, err := p.copy.admin.Get(context.Background(), "n").Result()
		if errors.Is(err, driver.Nil) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(text)
	})
	tr.Watch("redis both ends", p.both.At, seen)
	tr.Watch("redis source", p.giver.At, seen)
	tr.Beside("prometheus-redis-exporter", "redis_connected_slave_lag_seconds", []string{"-web.listen-address", "LISTEN"},
		[]string{fmt.Sprintf("REDIS_ADDR=redis://%s", p.primary.address()), "REDIS_PASSWORD=" + adminPassword}, seen)
	tr.Run(
		replicatest.Step{For: 4 * time.Second},
		replicatest.Step{For: 8 * time.Second, Do: func() { p.relay.Hold(true) }},
		replicatest.Step{For: time.Second, Do: func() { p.relay.Hold(false) }},
		replicatest.Step{For: 2 * time.Second, Do: func() { p.relay.Slow(20_000) }},
		replicatest.Step{For: time.Second, Do: func() { p.relay.Slow(0) }},
		replicatest.Step{For: time.Second, Do: func() { p.relay.Hold(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.relay.Hold(false) }},
	)
}
