package redis

import (
	"context"
	"strconv"
	"time"

	driver "github.com/redis/go-redis/v9"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Store is the heartbeats of one server as the agent keeps them. The keys of a beat are written by one MSET and read by
// one MGET, each of which happens as one.
type Store struct{ conn *conn }

var _ heartbeat.Store = (*Store)(nil)

// NewStore makes a Store; it does not connect. timeout bounds each question; 0: 2 seconds.
func NewStore(s Server, timeout time.Duration) (*Store, error) {
	if timeout == 0 {
		timeout = defaultTimeout
	}
	c, err := newConn(s, timeout)
	if err != nil {
		return nil, err
	}
	return &Store{conn: c}, nil
}

func beatKey(origin string) string           { return "evenkeel:hb:" + origin }
func echoKey(observer, origin string) string { return "evenkeel:echo:" + observer + ":" + origin }
func canaryKey(origin string, slot int64) string {
	return "evenkeel:canary:" + origin + ":" + strconv.FormatInt(slot, 10)
}

// Rows reads the keys of the names.
func (s *Store) Rows(ctx context.Context, names heartbeat.Names) (heartbeat.Rows, error) {
	var keys []string
	var take []func(*heartbeat.Rows, string) bool
	ask := func(key string, f func(*heartbeat.Rows, string) bool) {
		keys, take = append(keys, key), append(take, f)
	}
	origins := names.Peers
	if names.Own != "" {
		origins = append([]string{names.Own}, names.Peers...)
	}
	for _, origin := range origins {
		ask(beatKey(origin), func(r *heartbeat.Rows, text string) bool {
			b, ok := heartbeat.ParseBeat(origin, text)
			r.Beats = append(r.Beats, b)
			return ok
		})
		for slot := range int64(heartbeat.Slots) {
			ask(canaryKey(origin, slot), func(r *heartbeat.Rows, text string) bool {
				r.Canaries = append(r.Canaries, heartbeat.ParseCanary(origin, slot, text))
				return true
			})
		}
	}
	if names.Own != "" {
		for _, observer := range names.Peers {
			ask(echoKey(observer, names.Own), func(r *heartbeat.Rows, text string) bool {
				e, ok := heartbeat.ParseEcho(observer, names.Own, text)
				r.Echoes = append(r.Echoes, e)
				return ok
			})
		}
	}
	rows := heartbeat.Rows{Whole: true}
	if len(keys) == 0 {
		return rows, nil
	}
	var got []any
	err := s.conn.do(ctx, func(ctx context.Context, client *driver.Client) error {
		var err error
		got, err = client.MGet(ctx, keys...).Result()
		return err
	})
	if err != nil {
		return rows, told(err)
	}
	if len(got) != len(keys) {
		return rows, &heartbeat.Failure{Reason: replica.ReasonIncomplete, Detail: "the answer is not complete"}
	}
	for i, value := range got {
		if text, ok := value.(string); ok && !take[i](&rows, text) {
			return rows, &heartbeat.Failure{Reason: replica.ReasonIncomplete, Detail: "a heartbeat key holds something else"}
		}
	}
	return rows, nil
}

// Put writes the keys of the beat and of the echoes where the server is a primary. Two writers that write at the same moment
// find each other when they read.
func (s *Store) Put(ctx context.Context, b heartbeat.Beat, echoes []heartbeat.Echo) error {
	if err := s.writable(ctx); err != nil {
		return told(err)
	}
	c := b.Canary()
	pairs := []any{beatKey(b.Origin), b.Text(), canaryKey(b.Origin, c.Slot), c.Text()}
	for _, e := range echoes {
		pairs = append(pairs, echoKey(e.Observer, e.Origin), e.Text())
	}
	err := s.conn.do(ctx, func(ctx context.Context, client *driver.Client) error { return client.MSet(ctx, pairs...).Err() })
	if err != nil {
		return told(err)
	}
	return nil
}

// writable refuses all but a primary: a replica that takes writes keeps them to itself.
func (s *Store) writable(ctx context.Context) error {
	row, err := s.conn.info(ctx)
	switch {
	case err != nil:
		return err
	case row.Role != "master":
		return &Failure{replica.ReasonRole, "the server is not a primary"}
	}
	return nil
}

// Close closes the connection.
func (s *Store) Close() { _ = s.conn.Close() } // it is gone either way

func told(err error) error {
	f := classify(err)
	return &heartbeat.Failure{Reason: f.Reason, Detail: f.Detail}
}
