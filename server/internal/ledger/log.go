package ledger

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap is a zap logger that writes warnings and worse to log. Where etcd would end the process it
// panics instead, which Open turns into an error.
func newZap(log *slog.Logger) *zap.Logger {
	return zap.New(&bridge{log: log, refused: &seldom{}}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// bridge is a zap core that hands on to slog.
type bridge struct {
	log     *slog.Logger
	fields  []zapcore.Field
	refused *seldom
}

// refusedConnection is said of everyone who knocks at the peer address without a certificate of ours.
const refusedConnection = "rejected connection on peer endpoint"

// seldom lets a message that strangers can cause through once a minute.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	kept int // since the last one
}

// say reports whether the message is to be said, and how many were not since the last one.
func (s *seldom) say(at time.Time) (kept int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && at.Sub(s.last) < time.Minute {
		s.kept++
		return 0, false
	}
	kept, s.kept, s.last = s.kept, 0, at
	return kept, true
}

var _ zapcore.Core = (*bridge)(nil)

func (b *bridge) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, fields: append(slices.Clip(b.fields), fields...), refused: b.refused}
}

// chatter says of a message of etcd that it is about a connection to another replica. There are many of them while one is
// away, and that it is away is said once, by the age of its last word.
func chatter(message string) bool {
	switch message {
	case "closed TCP streaming connection with remote peer", "lost TCP streaming connection with remote peer",
		"peer became inactive (message send to peer failed)", "failed to reach the peer URL", "failed to get version",
		"prober detected unhealthy status", "failed to find remote peer in cluster", "leadership transfer failed",
		"dropped internal Raft message since sending buffer is full", "dropped Raft message since sending buffer is full",
		"waiting for ReadIndex response took too long, retrying", "timed out waiting for read index response (local node might have slow network)",
		"rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum", // asked again
		"setting up serving from embedded etcd failed.", "sending database snapshot failed",
		"leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk":
		return true
	}
	return false
}

func (b *bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && !expected(e.Message) {
		return c.AddCore(e, b)
	}
	return c
}

// expected says of a message of etcd that it complains about something we chose.
func expected(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.":
		return true // there is no port
	case "Failed to detect schema version", "failed to update storage version":
		return true // a new database has no version until its first write to disk; etcd tries again
	}
	return false
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range b.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	level := slog.LevelWarn
	switch {
	case chatter(e.Message):
		level = slog.LevelDebug
	case e.Level > zapcore.WarnLevel:
		level = slog.LevelError
	}
	ctx := context.Background()
	if !b.log.Enabled(ctx, level) {
		return nil
	}
	more := 0
	if e.Message == refusedConnection {
		var ok bool
		if more, ok = b.refused.say(timeOr(e.Time)); !ok {
			return nil
		}
	}
	r := slog.NewRecord(timeOr(e.Time), level, "message from etcd", 0)
	r.AddAttrs(slog.String("text", e.Message), slog.Any("fields", enc.Fields))
	if more > 0 {
		r.AddAttrs(slog.Int("more_since_the_last", more))
	}
	if remedy := remedyFor(e.Message); remedy != "" {
		r.AddAttrs(slog.String("remedy", remedy))
	}
	return b.log.Handler().Handle(ctx, r)
}

// remedyFor is what an operator can do about a message after which etcd takes the process down.
func remedyFor(message string) string {
	if strings.HasPrefix(message, "tocommit(") && strings.Contains(message, "raft log") {
		return "this data directory is older than what its replica told the others before: it was copied, or the disk was put back to an earlier " +
			"state. It must not vote again: make a bundle at another replica with 'evenkeel-server replica replace NAME --out FILE' and " +
			"start this one with an empty data directory and serve --join FILE"
	}
	return ""
}

func (b *bridge) Sync() error { return nil }

func timeOr(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}
