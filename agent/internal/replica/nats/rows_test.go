package nats

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

const streamText = `{"config":{"name":"ORDERS","subjects":["orders.>"]},"created":"2026-01-01T00:00:00Z",
 "state":{"messages":7,"first_seq":1,"last_seq":7},"ts":"2026-01-01T01:00:00Z",
 "cluster":{"name":"c","leader":"n1","replicas":[{"name":"n2","current":true,"active":1,"lag":3},{"name":"n3","offline":true}]},
 "mirror":{"name":"UP","external":{"api":"$JS.a.API"},"lag":0,"active":-1,"error":{"code":404,"err_code":10059,"description":"x"}},
 "sources":[{"name":"S","active":5000000,"seq":6,"filter_subject":"orders.eu","subject_transforms":[{"src":"a","dest":"b"}]},{"name":"T"}]}`

func TestParseStream(t *testing.T) {
	row, err := ParseStream([]byte(streamText))
	if err != nil {
		t.Fatal(err)
	}
	m := row.Mirror.V
	if row.Name != "ORDERS" || row.First != 1 || row.Last != 7 || !row.Clustered || row.Leader != "n1" || len(row.Replicas) != 2 ||
		!row.Replicas[1].Offline || row.Replicas[0].Lag != 3 || row.Now.Sub(row.Made) != time.Hour {
		t.Errorf("%+v", row)
	}
	if !row.Mirror.OK || m.Active.OK || m.Error.V != 10059 || m.APIPrefix != "$JS.a.API" || m.Seq.OK {
		t.Errorf("mirror %+v", m)
	}
	s, absent := row.Sources[0], row.Sources[1]
	if s.Active.V != 5*time.Millisecond || s.Seq.V != 6 || s.Filter != "orders.eu" || s.Transforms[0] != (Transform{"a", "b"}) {
		t.Errorf("source %+v", s)
	}
	if absent.Active.OK || absent.Seq.OK || absent.Error.OK {
		t.Errorf("what is absent is not zero: %+v", absent)
	}
	f := func(name, text string, code int) {
		t.Helper()
		_, err := ParseStream([]byte(text))
		if err == nil {
			t.Fatalf("%s: accepted", name)
		}
		if e, ok := err.(*apiError); ok != (code != 0) || ok && e.ErrCode != code { //nolint:errorlint // returned as it is
			t.Errorf("%s: %v", name, err)
		}
	}
	f("nothing", "", 0)
	f("no object", "[]", 0)
	f("an error", `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`, 10059)
	f("no state", `{"config":{"name":"x"},"created":"2026-01-01T00:00:00Z","ts":"2026-01-01T00:00:00Z"}`, 0)
	f("no sequence", `{"config":{"name":"x"},"created":"2026-01-01T00:00:00Z","state":{"messages":1},"ts":"2026-01-01T00:00:00Z"}`, 0)
	f("no clock, before 2.10", `{"config":{"name":"x"},"created":"2026-01-01T00:00:00Z","state":{"messages":1,"first_seq":1,"last_seq":1}}`, 0)
	f("sequences that cannot be", `{"config":{},"created":"2026-01-01T00:00:00Z","state":{"first_seq":9,"last_seq":7},"ts":"2026-01-01T00:00:00Z"}`, 0)
	f("a sequence at the end", fmt.Sprintf(`{"config":{},"created":"2026-01-01T00:00:00Z","state":{"first_seq":1,"last_seq":%d},"ts":"2026-01-01T00:00:00Z"}`, uint64(math.MaxUint64)), 0)
}

func TestParseMessage(t *testing.T) {
	// NATS/1.0, Nats-Stream-Source: ORDERS 7 > > orders.x
	const header = "TkFUUy8xLjANCk5hdHMtU3RyZWFtLVNvdXJjZTogT1JERVJTIDcgPiA+IG9yZGVycy54DQoNCg=="
	m, err := ParseMessage([]byte(`{"message":{"seq":3,"time":"2026-01-01T00:00:00.5Z","data":"eA==","hdrs":"` + header + `"}}`))
	if err != nil || !m.OK || m.V.Seq != 3 || string(m.V.Data) != "x" || m.V.Source != "ORDERS 7 > > orders.x" {
		t.Errorf("%+v %v", m, err)
	}
	if m, err = ParseMessage([]byte(`{"error":{"code":404,"err_code":10037}}`)); err != nil || m.OK {
		t.Errorf("no message: %+v %v", m, err)
	}
	for _, bad := range []string{"", "{}", `{"message":{}}`, `{"message":{"seq":1}}`, `{"error":{"err_code":10008}}`, `{"message":{"seq":1,"time":"2026-01-01T00:00:00Z","hdrs":"eA=="}}`} {
		if m, err := ParseMessage([]byte(bad)); err == nil || m.OK {
			t.Errorf("%s: %+v", bad, m)
		}
	}
}

func TestOrigin(t *testing.T) {
	f := func(u upstream, header string, want uint64) {
		t.Helper()
		if got := u.origin(header); got.V != want || got.OK != (want != 0) {
			t.Errorf("%q: %+v, want %d", header, got, want)
		}
	}
	near, far := upstream{SourceRow: SourceRow{Name: "ORDERS"}}, upstream{SourceRow: SourceRow{Name: "ORDERS", APIPrefix: "$JS.a.API"}}
	f(near, "ORDERS 7", 7)
	f(near, "ORDERS 7 > > orders.x", 7)
	f(near, "ORDERS 7 > > orders.x ident more", 7)
	f(near, "ORDERS:C=12345678 7 > > orders.x", 7)
	f(near, "OTHER 7 > > orders.x", 0)
	f(near, far.index()+" 7 > > orders.x", 0)
	f(far, far.index()+" 7 > > orders.x", 7)
	for _, bad := range []string{"", "ORDERS", "ORDERS ", "ORDERS x", "ORDERS -7", "ORDERS 0"} {
		f(near, bad, 0)
	}
}

func TestSubjects(t *testing.T) {
	f := func(u SourceRow, filters, landing []string) {
		t.Helper()
		up := upstream{SourceRow: u}
		if got := up.filters(); !slices.Equal(got, filters) {
			t.Errorf("%+v: filters %q, want %q", u, got, filters)
		}
		if got := up.landing([]string{"all.>"}); !slices.Equal(got, landing) {
			t.Errorf("%+v: landing %q, want %q", u, got, landing)
		}
	}
	f(SourceRow{}, nil, []string{"all.>"})
	f(SourceRow{Filter: ">"}, nil, []string{"all.>"})
	f(SourceRow{Filter: "a.*"}, []string{"a.*"}, []string{"a.*"})
	f(SourceRow{Transforms: []Transform{{"a.*", "b.{{wildcard(1)}}.c"}, {"x", ""}}}, []string{"a.*", "x"}, []string{"b.*.c", "x"})
	f(SourceRow{Transforms: []Transform{{">", "eu.>"}}}, nil, []string{"eu.>"})
	f(SourceRow{Transforms: []Transform{{"a.*", "b.$1.{{split(1,-)}}.c"}}}, []string{"a.*"}, []string{"b.*.>"})
}

func FuzzParseStream(f *testing.F) {
	f.Add([]byte(streamText))
	f.Fuzz(func(t *testing.T, data []byte) {
		row, err := ParseStream(data)
		if err == nil && (row.First > row.Last+1 || row.Now.IsZero()) {
			t.Errorf("%+v", row)
		}
		if err == nil {
			_, _ = spec.find(row)
			raft(replica.Some(row), "copy")
		}
		if err != nil {
			classify(err)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"message":{"seq":3,"time":"2026-01-01T00:00:00.5Z","data":"eA==","hdrs":"TkFUUy8xLjANCkE6IGINCg0K"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseMessage(data); m.OK && (err != nil || m.V.Seq == 0) {
			t.Errorf("%+v %v", m, err)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add("ORDERS 7 > > orders.x", "a.{{wildcard(1)}}")
	f.Fuzz(func(t *testing.T, header, destination string) {
		u := upstream{SourceRow: SourceRow{Name: "ORDERS"}}
		if seq := u.origin(header); seq.OK && seq.V == 0 {
			t.Error(header)
		}
		wildcards(destination)
	})
}

func FuzzBeat(f *testing.F) {
	f.Add("1 1700000000000000 2 1000", "1 2 1700000000000000")
	f.Fuzz(func(t *testing.T, beat, echo string) {
		if b, ok := heartbeat.ParseBeat("a", beat); ok && (b.Text() != beat || b.Interval <= 0) {
			t.Errorf("%q: %+v", beat, b)
		}
		if e, ok := heartbeat.ParseEcho("a", "b", echo); ok && e.Text() != echo {
			t.Errorf("%q: %+v", echo, e)
		}
	})
}
