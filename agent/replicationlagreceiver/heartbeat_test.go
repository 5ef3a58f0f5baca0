package replicationlagreceiver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// everyMeasure is one of each that the receiver tells besides those of the engines.
func everyMeasure() []replica.Measure {
	b := &beats{seen: map[string]*heartbeat.Seen{"fra": {Canaries: heartbeat.Canaries{Checked: 1}}}, set: Heartbeat{Origin: "fra"}}
	return slices.Concat(b.measures(), b.canaries("fra"), []replica.Measure{{Name: measureAge, Unit: "s"}, {Name: measureTrip, Unit: "s"}})
}

func TestHeartbeatConfig(t *testing.T) {
	f := func(want, engine string, beat map[string]any, change func(server map[string]any)) *Config {
		t.Helper()
		link := map[string]any{"store": "orders", "from": "fra", "to": "ams", "end": "target"}
		s := map[string]any{"engine": engine, "address": "127.0.0.1:6379", "user": "evenkeel", "links": []any{link}, "heartbeat": beat}
		switch engine {
		case "postgresql":
			s["dsn"] = "host=127.0.0.1 user=evenkeel"
		case "nats":
			link["channel"] = "ORDERS"
		}
		if change != nil {
			change(s)
		}
		c, err := config(t, map[string]any{"site": "ams", "servers": []any{s}})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s %v: %v", engine, beat, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "servers[0]")):
			t.Errorf("%s %v: got %v, want %q", engine, beat, err, want)
		}
		return c
	}
	write := func(more ...any) map[string]any {
		out := map[string]any{"write": true}
		for i := 0; i < len(more); i += 2 {
			out[more[i].(string)] = more[i+1]
		}
		return out
	}
	c := f("", "redis", write(), nil)
	if h := c.Servers[0].Heartbeat; h.Origin != "ams" || !slices.Equal(h.Peers, []string{"fra"}) || h.Interval != time.Second {
		t.Errorf("left out: %+v", h)
	}
	f("", "redis", map[string]any{}, nil)
	f("", "postgresql", write("dsn", "host=127.0.0.1 user=beat"), nil)
	both := func(s map[string]any) {
		s["links"] = append(s["links"].([]any), map[string]any{"store": "orders", "from": "ams", "to": "fra", "end": "source"})
	}
	f("", "mysql", write("database", "evenkeel", "user", "beat"), both)
	f("only copies", "mysql", write("database", "evenkeel"), nil)
	f("", "mysql", map[string]any{"database": "evenkeel"}, nil)
	f("", "nats", write("stream", "ORDERS"), nil)
	f("", "kafka", write("topic", "evenkeel-heartbeat", "user", "beat"), both)
	f("", "kafka", map[string]any{"topic": "evenkeel-heartbeat"}, func(s map[string]any) { s["mirror_interval"] = "5s" })
	f("needs the topic of its own", "kafka", map[string]any{"interval": "2s"}, nil)
	f("without dots", "kafka", write("topic", "evenkeel.heartbeat"), nil)
	f("leave channel out", "kafka", write("topic", "x", "channel", "y"), nil)
	f("topic is for kafka only", "redis", write("topic", "x"), nil)
	f("mirror_interval is for kafka only", "redis", write(), func(s map[string]any) { s["mirror_interval"] = "5s" })
	f("no times below 0", "kafka", write("topic", "x"), func(s map[string]any) { s["mirror_interval"] = "-5s" })
	f("a link without a channel", "kafka", write("topic", "x"), func(s map[string]any) {
		s["links"] = []any{map[string]any{"store": "orders", "from": "ams", "to": "fra", "end": "source", "channel": "copier"}}
	})
	f("two aliases", "kafka", write("topic", "x"), func(s map[string]any) {
		both(s)
		s["links"].([]any)[0].(map[string]any)["peer"] = "frankfurt"
	})
	f("only by the echo of a heartbeat", "kafka", nil, both)
	f("needs the database", "mysql", write(), nil)
	f("needs the stream", "nats", write(), nil)
	f("database is for mysql only", "redis", write("database", "x"), nil)
	f("stream is for nats only", "redis", write("stream", "x"), nil)
	f("dsn is for postgresql only", "redis", write("dsn", "x"), nil)
	f("stands in dsn", "postgresql", write("user", "x"), nil)
	f("from 100ms to 1m0s", "redis", write("interval", "10ms"), nil)
	f("from 100ms to 1m0s", "redis", write("interval", "1h"), nil)
	f("no name of a site", "redis", write("peers", []any{"Fra:x"}), nil)
	f("among the peers", "redis", write("peers", []any{"ams", "fra"}), nil)
	f("invalid keys: when", "redis", write("when", "x"), nil)
	f("connection string", "postgresql", write("dsn", "host=127.0.0.1 password='"), nil)
	several := func(s map[string]any) {
		one := map[string]any{"store": "orders", "from": "fra", "to": "ams", "end": "target", "channel": "x"}
		s["links"] = append(s["links"].([]any), one)
		both(s)
	}
	f("has several channels", "mysql", write("database", "evenkeel"), several)
	f("", "mysql", write("database", "evenkeel", "channel", "x"), several)
}

func TestSetUp(t *testing.T) {
	f := func(want string, plan SetUp) {
		t.Helper()
		for _, name := range []*string{&plan.Account, &plan.Database, &plan.Stream, &plan.Origin} {
			if *name == "" {
				*name = "x"
			}
		}
		text, err := plan.Text()
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, want) {
			t.Errorf("%+v: %s, want %q", plan, text, want)
		}
	}
	f("CREATE PUBLICATION evenkeel_fra_1", SetUp{Engine: "postgresql", Origin: "fra-1"})
	f("`x`.evenkeel_canary TO 'x'@'%'", SetUp{Engine: "mysql"})
	f("ACL SETUSER x on", SetUp{Engine: "redis"})
	f(`"$JS.API.STREAM.MSG.GET.x-copy", "evenkeel.hb.fra"`, SetUp{Engine: "nats", Origin: "fra"})
	f("User:x --operation Read --operation Write --topic evenkeel-heartbeat\n", SetUp{Engine: "kafka", Peers: []string{"ams"}})
	f("User:x --operation Read --topic ams.hb\n", SetUp{Engine: "kafka", Topic: "hb", Peers: []string{"ams"}})
	f("no name of a topic", SetUp{Engine: "kafka", Topic: "a.b"})
	f("use one of postgresql, mysql, redis, nats, kafka", SetUp{Engine: "oracle"})
	f("no plain name", SetUp{Engine: "mysql", Account: "x'; DROP TABLE y"})
	f("no plain name", SetUp{Engine: "redis", Peers: []string{"a b"}})
}

// The epoch grows over restarts, and is never above what is on disk.
func TestEpochs(t *testing.T) {
	dir := t.TempDir()
	var said []string
	open := func() *epochs { return openEpochs(dir, func(err error) { said = append(said, err.Error()) }) }
	e := open()
	e.keep(3)
	e.keep(2)
	if got := open().last(); got != 3 || len(said) > 0 {
		t.Errorf("kept %d, said %v", got, said)
	}
	if err := os.WriteFile(filepath.Join(dir, epochFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := open().last(); got != 0 || len(said) != 1 {
		t.Errorf("kept %d, said %v", got, said)
	}
	e.path = filepath.Join(dir, "none", epochFile)
	e.keep(4)
	e.keep(5)
	if len(said) != 2 || e.last() != 5 {
		t.Errorf("a disk that is full stops nothing and is told once: %v", said)
	}
}

// slow is a store whose writes take their time. Time is that of a synctest bubble.
type slow struct {
	took time.Duration
	fail error
	rows heartbeat.Rows
}

func (s *slow) Rows(context.Context, heartbeat.Names) (heartbeat.Rows, error) { return s.rows, nil }

func (s *slow) Put(_ context.Context, b heartbeat.Beat, _ []heartbeat.Echo) error {
	time.Sleep(s.took)
	if s.fail == nil {
		s.rows.Beats = []heartbeat.Beat{b}
	}
	return s.fail
}

func (s *slow) Close() {}

// A write that takes longer than the interval leaves out those that were due meanwhile, and counts them.
func TestWritesThatOverrun(t *testing.T) {
	f := func(took time.Duration, written, skipped int64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Timeout: time.Minute, Heartbeat: &Heartbeat{Origin: "a", Interval: time.Second, Write: true}}
			b := newBeats(s, &slow{took: took}, openEpochs("", nil))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); b.write(ctx, zap.NewNop()) }()
			time.Sleep(10*time.Second + 500*time.Millisecond)
			cancel()
			<-done
			if b.written != written || b.skipped != skipped {
				t.Errorf("writes of %s: %d written, %d left out, want %d and %d", took, b.written, b.skipped, written, skipped)
			}
		})
	}
	f(0, 11, 0)
	f(900*time.Millisecond, 11, 0)
	f(1500*time.Millisecond, 6, 6)
	f(4*time.Second, 3, 12)
}

// A write whose end is not known begins a new epoch; one that was refused does not.
func TestWritesThatFail(t *testing.T) {
	f := func(err error, want Writing, anew bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := &slow{}
			s := &Server{Timeout: time.Minute, Heartbeat: &Heartbeat{Origin: "a", Interval: time.Second, Write: true}}
			b := newBeats(s, store, openEpochs("", nil))
			b.beat(t.Context())
			first := store.rows.Beats[0].Epoch
			store.fail = err
			for range 5 {
				time.Sleep(time.Second)
				b.beat(t.Context())
			}
			if b.writing != want {
				t.Errorf("%v: %s, want %s", err, b.writing, want)
			}
			store.fail = nil
			b.beat(t.Context())
			if got := store.rows.Beats[0].Epoch; got < first || (got > first) != anew || b.writing != WritingOn {
				t.Errorf("%v: %s, epoch %d and then %d, want a new one: %v", err, b.writing, first, got, anew)
			}
		})
	}
	failed := func(reason replica.Reason) error { return &heartbeat.Failure{Reason: reason, Detail: "x"} }
	f(failed(replica.ReasonTimeout), WritingFailed, true)
	f(errors.New("something else"), WritingFailed, true)
	f(failed(replica.ReasonPrivilege), WritingFailed, false)
	f(failed(replica.ReasonRole), WritingPaused, false)
	f(failed(replica.ReasonSplitBrain), WritingRefused, false)
}

// TestOvertakenBeats: a beat that may have overtaken what was committed before it is neither a bound nor an echo. Once that was seen
// only beats are echoed that a look has found to prove something.
func TestOvertakenBeats(t *testing.T) {
	store := &slow{}
	s := Server{Engine: "mysql", Timeout: time.Second, Interval: time.Second, Heartbeat: &Heartbeat{Origin: "fra", Peers: []string{"ams"}, Interval: time.Second}}
	link := Link{Store: "orders", From: "ams", To: "fra", End: string(replica.Target)}
	b := newBeats(&s, store, openEpochs("", nil))
	now := time.Now()
	come := func(seq int64) {
		t.Helper()
		store.rows = heartbeat.Rows{Beats: []heartbeat.Beat{{Origin: "ams", Epoch: 1, Seq: seq, At: now, Interval: time.Second}}}
		if !b.reading(t.Context()) {
			t.Fatal("the rows cannot be read")
		}
	}
	look := func(overtaken bool) replica.Sighting {
		t.Helper()
		if _, err := b.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := []sight{{Sighting: replica.Sighting{State: replica.CatchingUp, Reason: replica.ReasonNotMeasured, Overtaken: overtaken}}}
		b.tell(t.Context(), []Link{link}, s.Engine, all, 0)
		return all[0].Sighting
	}
	echoes := func(what string, want int64) {
		t.Helper()
		got := int64(0)
		for _, e := range b.echoes(now) {
			got = e.Seq
		}
		if got != want {
			t.Errorf("%s: beat %d is echoed, want %d (0: none)", what, got, want)
		}
	}
	come(1)
	look(false)
	come(2)
	echoes("in order", 2)
	if seen := look(true); seen.Upper.OK || seen.Reason != replica.ReasonNotMeasured {
		t.Errorf("a beat that may have overtaken bounds the lag: %+v", seen)
	}
	echoes("overtaken", 0)
	come(3)
	echoes("not looked at", 0)
	look(false)
	echoes("proven", 3)
	come(4)
	echoes("came after the look", 3)
	look(true)
	echoes("what was proven stays so", 3)
}
