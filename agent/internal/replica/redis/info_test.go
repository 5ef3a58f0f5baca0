package redis

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func recorded(t testing.TB, name string) Info {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return ParseInfo(string(text))
}

func TestParseInfo(t *testing.T) {
	p := recorded(t, "redis-7.0.15-primary.txt")
	if p.Version != "7.0.15" || len(p.RunID) != 40 || p.Role != "master" || len(p.ReplID) != 40 || p.Loading {
		t.Errorf("primary: %+v", p)
	}
	if len(p.Replicas) != 1 {
		t.Fatalf("primary: replicas %+v", p.Replicas)
	}
	r := p.Replicas[0]
	if r.IP != "127.0.0.1" || r.State != "online" || !r.Port.OK || !r.Offset.OK || !r.Lag.OK || r.Offset.V > p.Offset.V {
		t.Errorf("primary: replica %+v", r)
	}
	if !p.Backlog.Active.V || p.Backlog.First != replica.Some(int64(1)) || p.SecondOffset != replica.Some(int64(-1)) ||
		p.SyncFull != replica.Some(int64(1)) {
		t.Errorf("primary: backlog %+v, second offset %v, full syncs %v", p.Backlog, p.SecondOffset, p.SyncFull)
	}
	if p.LastIO.OK || p.AppliedOffset.OK || p.LinkStatus != "" || p.ReadOnly.OK {
		t.Errorf("primary: it tells what only a replica has: %+v", p)
	}
	c := recorded(t, "redis-7.0.15-replica.txt")
	if c.Role != "slave" || c.LinkStatus != "up" || !c.LastIO.OK || !c.AppliedOffset.OK || !c.ReadOffset.OK ||
		c.ReadOnly != replica.Some(true) || c.SourceHost != "127.0.0.1" || c.ReplID != p.ReplID || len(c.Replicas) != 0 {
		t.Errorf("replica: %+v", c)
	}
}

func TestParseInfoOddText(t *testing.T) {
	f := func(text string, ok func(Info) bool) {
		t.Helper()
		if in := ParseInfo(text); !ok(in) {
			t.Errorf("%q: %+v", text, in)
		}
	}
	f("", func(in Info) bool { return in.Role == "" && !in.Offset.OK && !in.Backlog.Active.OK })
	f("master_repl_offset:\r\n", func(in Info) bool { return !in.Offset.OK })
	f("master_repl_offset:12x\n", func(in Info) bool { return !in.Offset.OK })
	f("master_repl_offset:9223372036854775807\n", func(in Info) bool { return !in.Offset.OK })
	f("master_last_io_seconds_ago:-1", func(in Info) bool { return in.LastIO == replica.Some(int64(-1)) })
	f("slave_read_only:2", func(in Info) bool { return !in.ReadOnly.OK })
	f("slave_repl_offset:3", func(in Info) bool { return len(in.Replicas) == 0 && in.AppliedOffset.V == 3 })
	f("slave0:ip=::1,port=1,state=online,offset=5,lag=0\r\nslave1:\r\n", func(in Info) bool {
		return len(in.Replicas) == 2 && in.Replicas[0].IP == "::1" && in.Replicas[0].Offset.V == 5 && !in.Replicas[1].Offset.OK
	})
}

func TestSameHistory(t *testing.T) {
	f := func(source, target string, want bool) {
		t.Helper()
		if got := sameHistory(ParseInfo(source), ParseInfo(target)); got != want {
			t.Errorf("source %q, target %q: %v", source, target, got)
		}
	}
	promoted := "master_replid:new\nmaster_replid2:old\nsecond_repl_offset:101"
	f("master_replid:a", "master_replid:a\nslave_repl_offset:5", true)
	f("master_replid:a", "master_replid:a", false)
	f("master_replid:a", "slave_repl_offset:5", false)
	f("", "slave_repl_offset:5", false)
	f("master_replid:a", "master_replid:b\nslave_repl_offset:5", false)
	f(promoted, "master_replid:old\nslave_repl_offset:100", true)
	f(promoted, "master_replid:old\nslave_repl_offset:101", false)
	f("master_replid:new\nmaster_replid2:old\nsecond_repl_offset:-1", "master_replid:old\nslave_repl_offset:1", false)
}

func TestNeedsCopy(t *testing.T) {
	f := func(backlog string, applied int64, want replica.Opt[bool]) {
		t.Helper()
		if got := needsCopy(ParseInfo(backlog).Backlog, applied); got != want {
			t.Errorf("%q, applied %d: %v, want %v", backlog, applied, got, want)
		}
	}
	held := "repl_backlog_active:1\nrepl_backlog_first_byte_offset:100\nrepl_backlog_histlen:50"
	f(held, 99, replica.Some(false))
	f(held, 98, replica.Some(true))
	f(held, 149, replica.Some(false))
	f(held, 150, replica.Some(true))
	f("repl_backlog_active:0\nrepl_backlog_first_byte_offset:0", 5, replica.Some(true))
	f("repl_backlog_active:1", 5, replica.Opt[bool]{})
	f("", 5, replica.Opt[bool]{})
}

func FuzzParseInfo(f *testing.F) {
	for _, name := range []string{"redis-7.0.15-primary.txt", "redis-7.0.15-replica.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), string(text))
	}
	f.Add("role:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:9000000000000", "slave0:ip=,port=,state=,offset=,lag=")
	f.Fuzz(func(t *testing.T, a, b string) {
		at := start
		look := replica.Look{Began: at, Ended: at.Add(1), Interval: 1, ClockKnown: true}
		target, source := Row{ParseInfo(a), at, at}, Row{ParseInfo(b), at, at}
		var m Memory
		for range 2 {
			for _, s := range []replica.Sighting{
				Target(targetLink, target, &source, defaultPingPeriod, &m),
				Target(targetLink, target, nil, defaultPingPeriod, &m),
				Source(sourceLink, source, &m),
			} {
				if s.State == replica.Unknown && s.Reason == "" {
					t.Errorf("unknown without a reason: %+v", s)
				}
				st, _ := replica.Settle(s, replica.Memory{}, look)
				if st.State == replica.LinkDown && st.Lower.V <= 0 {
					t.Errorf("link down with lower %v", st.Lower)
				}
				if s.Bytes.OK && s.Bytes.V < 0 {
					t.Errorf("bytes %d", s.Bytes.V)
				}
				if s.State == replica.CaughtUp && s.End == replica.Target && target.LinkStatus != "up" {
					t.Errorf("caught up with the link %q", target.LinkStatus)
				}
			}
		}
	})
}
