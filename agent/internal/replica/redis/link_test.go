package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

var (
	targetLink = LinkSpec{Store: "cache", From: "a", To: "b", End: replica.Target, Peer: "10.0.0.1"}
	sourceLink = LinkSpec{Store: "cache", From: "a", To: "b", End: replica.Source, Peer: "10.0.0.2:6379"}
)

func at(second int, text string) Row {
	moment := start.Add(time.Duration(second) * time.Second)
	return Row{Info: ParseInfo(strings.ReplaceAll(text, " ", "\n")), Began: moment, Ended: moment}
}

func wantSighting(t *testing.T, what string, s replica.Sighting, want string) {
	t.Helper()
	show := func(o replica.Opt[time.Duration]) string {
		if !o.OK {
			return "-"
		}
		return o.V.String()
	}
	bytes := "-"
	if s.Bytes.OK {
		bytes = fmt.Sprint(s.Bytes.V)
	}
	got := strings.TrimSpace(fmt.Sprintf("%v %s", s.State, s.Reason))
	got += fmt.Sprintf(" lag %s..%s bytes %s age %s exposure %s", show(s.Lower), show(s.Upper), bytes, show(s.LinkAge), show(s.Exposure))
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

const (
	replicaUp = "role:slave master_host:10.0.0.1 master_port:6379 master_link_status:up master_last_io_seconds_ago:1 " +
		"master_sync_in_progress:0 master_replid:x slave_read_only:1 "
	replicaDown = "role:slave master_host:10.0.0.1 master_port:6379 master_link_status:down master_last_io_seconds_ago:-1 " +
		"master_sync_in_progress:0 master_replid:x "
	primary = "role:master master_replid:x run_id:r repl_backlog_active:1 repl_backlog_size:1000 repl_backlog_first_byte_offset:1 " +
		"repl_backlog_histlen:5000 "
)

func TestTarget(t *testing.T) {
	f := func(what, want, target string, sources ...string) {
		t.Helper()
		var m Memory
		var s replica.Sighting
		last := len(sources)
		for i, text := range sources {
			source := at(10*i, text)
			s = Target(targetLink, at(10*i, target), &source, defaultPingPeriod, &m)
		}
		if last == 0 {
			s = Target(targetLink, at(0, target), nil, defaultPingPeriod, &m)
		}
		wantSighting(t, what, s, want)
	}
	f("no answer", "unknown incomplete lag -..- bytes - age - exposure -", "")
	f("promoted", "unknown role lag -..- bytes - age - exposure -", "role:master master_replid:y")
	f("told to follow another", "unknown misconfigured lag -..- bytes - age - exposure -",
		strings.ReplaceAll(replicaUp, "10.0.0.1", "10.9.9.9"))
	f("without the state of its link", "unknown incomplete lag -..- bytes - age - exposure -", "role:slave master_host:10.0.0.1")
	f("without the time it heard", "unknown incomplete lag -..- bytes - age - exposure -",
		"role:slave master_host:10.0.0.1 master_link_status:up")
	f("without its offset", "unknown incomplete lag -..- bytes - age 1s exposure -", replicaUp)
	f("alone", "catching_up not_measured lag -..- bytes - age 1s exposure -", replicaUp+"slave_repl_offset:100")
	f("not connected", "link_down lag -..- bytes - age - exposure -", replicaDown+"slave_repl_offset:100")
	f("up without a connection", "link_down lag -..- bytes - age - exposure -",
		strings.ReplaceAll(replicaUp, "ago:1", "ago:-1")+"slave_repl_offset:100")
	f("silent within the margin", "catching_up not_measured lag -..- bytes - age 15s exposure -",
		strings.ReplaceAll(replicaUp, "ago:1", "ago:15")+"slave_repl_offset:100")
	f("silent for too long", "link_down stale lag -..- bytes - age 16s exposure -",
		strings.ReplaceAll(replicaUp, "ago:1", "ago:16")+"slave_repl_offset:100")
	f("silent, with nothing missing", "link_down stale lag -..- bytes 0 age 16s exposure 0s",
		strings.ReplaceAll(replicaUp, "ago:1", "ago:16")+"slave_repl_offset:100", primary+"master_repl_offset:100")
	f("full copy", "resyncing lag -..- bytes - age - exposure -",
		strings.ReplaceAll(replicaDown, "progress:0", "progress:1")+"slave_repl_offset:100")
	f("loads from its disk", "resyncing lag -..- bytes - age - exposure -", replicaDown+"loading:1 slave_repl_offset:100")

	f("complete", "caught_up lag -..- bytes 0 age 1s exposure 0s", replicaUp+"slave_repl_offset:100", primary+"master_repl_offset:100")
	f("ahead of the answer", "caught_up lag -..- bytes 0 age 1s exposure 0s", replicaUp+"slave_repl_offset:150", primary+"master_repl_offset:100")
	f("behind from the first look", "catching_up not_measured lag 0s..- bytes 100 age 1s exposure -",
		replicaUp+"slave_repl_offset:100", primary+"master_repl_offset:200")
	f("behind", "catching_up lag 10s..20s bytes 200 age 1s exposure 20s", replicaUp+"slave_repl_offset:100",
		primary+"master_repl_offset:100", primary+"master_repl_offset:200", primary+"master_repl_offset:300")
	f("a PING behind", "caught_up lag -..- bytes 14 age 1s exposure 0s", replicaUp+"slave_repl_offset:100",
		primary+"master_repl_offset:100", primary+"master_repl_offset:114")
	f("cut, nothing written", "link_down lag -..- bytes 0 age - exposure 0s", replicaDown+"slave_repl_offset:100", primary+"master_repl_offset:100")
	f("cut, written", "link_down lag -..- bytes 100 age - exposure 10s", replicaDown+"slave_repl_offset:100",
		primary+"master_repl_offset:100", primary+"master_repl_offset:200")
	f("cut, no longer kept", "link_down lost lag -..- bytes 4900 age - exposure -", replicaDown+"slave_repl_offset:100",
		strings.ReplaceAll(primary, "byte_offset:1", "byte_offset:4001")+"master_repl_offset:5000")
	f("cut, the source has another history", "link_down lost lag -..- bytes - age - exposure -", replicaDown+"slave_repl_offset:100",
		strings.ReplaceAll(primary, "replid:x", "replid:y")+"master_repl_offset:5000")
	f("connected to another history", "unknown disagree lag -..- bytes - age 1s exposure -", replicaUp+"slave_repl_offset:100",
		strings.ReplaceAll(primary, "replid:x", "replid:y")+"master_repl_offset:5000")
	f("the source does not tell", "unknown incomplete lag -..- bytes - age 1s exposure -", replicaUp+"slave_repl_offset:100", "role:master master_replid:x")
}

func TestTargetMeasures(t *testing.T) {
	var m Memory
	source := at(0, primary+"master_repl_offset:300")
	target := at(0, strings.ReplaceAll(replicaUp, "only:1", "only:0")+"slave_repl_offset:100 slave_read_repl_offset:150")
	s := Target(targetLink, target, &source, defaultPingPeriod, &m)
	want := "redis.replica.pending 50, redis.replica.writable 1, redis.resync.needed 0, redis.backlog.headroom 800"
	if got := measures(s); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	syncing := at(0, strings.ReplaceAll(replicaDown, "progress:0", "progress:1")+"master_sync_left_bytes:77")
	if got := measures(Target(targetLink, syncing, nil, defaultPingPeriod, &m)); got != "redis.sync.left 77" {
		t.Error(got)
	}
	unknown := at(0, strings.ReplaceAll(replicaDown, "progress:0", "progress:1")+"master_sync_left_bytes:-1")
	if got := measures(Target(targetLink, unknown, nil, defaultPingPeriod, &m)); got != "" {
		t.Error(got)
	}
}

func measures(s replica.Sighting) string {
	var out []string
	for _, m := range s.Extra {
		out = append(out, fmt.Sprintf("%s %v", m.Name, m.Value))
	}
	return strings.Join(out, ", ")
}

func TestSource(t *testing.T) {
	f := func(what, want string, looks ...string) {
		t.Helper()
		var m Memory
		var s replica.Sighting
		for i, text := range looks {
			s = Source(sourceLink, at(10*i, text), &m)
		}
		wantSighting(t, what, s, want)
	}
	row := func(state string, offset, lag int) string {
		return fmt.Sprintf("slave0:ip=10.0.0.2,port=6379,state=%s,offset=%d,lag=%d ", state, offset, lag)
	}
	f("no answer", "unknown incomplete lag -..- bytes - age - exposure -", "")
	f("not there", "link_down lag -..- bytes - age - exposure -", primary+"master_repl_offset:100")
	f("not there, and another is", "link_down lag -..- bytes - age - exposure -",
		primary+"master_repl_offset:100 slave0:ip=10.0.0.3,port=6379,state=online,offset=100,lag=0")
	f("became a replica", "unknown role lag -..- bytes - age - exposure -", replicaUp+"master_repl_offset:100")
	f("feeds it as a replica", "caught_up lag -..- bytes 0 age 0s exposure 0s", replicaUp+"master_repl_offset:100 "+row("online", 100, 0))
	f("two match", "unknown misconfigured lag -..- bytes - age - exposure -", primary+row("online", 1, 0)+"slave1:ip=10.0.0.2,port=6379")
	f("a copy over a second connection", "resyncing lag -..- bytes - age - exposure -",
		primary+row("bg_transfer", 0, 0)+"slave1:ip=10.0.0.2,port=6379,state=send_bulk,offset=0,lag=0,type=rdb-channel")
	f("full copy", "resyncing lag -..- bytes - age - exposure -", primary+"master_repl_offset:100 "+row("wait_bgsave", 0, 0))
	f("without an acknowledgement", "resyncing lag -..- bytes - age - exposure -", primary+"master_repl_offset:100 "+row("online", 0, 30))
	f("cannot be read", "unknown incomplete lag -..- bytes - age - exposure -", primary+"master_repl_offset:100 slave0:ip=10.0.0.2,port=6379,state=online")
	f("complete", "caught_up lag -..- bytes 0 age 1s exposure 0s", primary+"master_repl_offset:100 "+row("online", 100, 1))
	f("behind", "catching_up lag -..20s bytes 200 age 1s exposure 20s", primary+"master_repl_offset:100 "+row("online", 100, 1),
		primary+"master_repl_offset:200 "+row("online", 100, 1), primary+"master_repl_offset:300 "+row("online", 100, 1))
	f("silent within the limit", "caught_up lag -..- bytes 0 age 5s exposure 0s", primary+"master_repl_offset:100 "+row("online", 100, 5))
	f("silent for too long", "link_down stale lag -..- bytes 0 age 6s exposure 0s", primary+"master_repl_offset:100 "+row("online", 100, 6))
	f("gone", "link_down lag -..- bytes - age 11s exposure -", primary+"master_repl_offset:100 "+row("online", 100, 1), primary+"master_repl_offset:200")
	kept := strings.ReplaceAll(primary, "byte_offset:1", "byte_offset:201")
	lost := strings.ReplaceAll(primary, "byte_offset:1", "byte_offset:202")
	f("gone, still kept", "link_down lag -..- bytes - age - exposure -", primary+"master_repl_offset:200", kept+"master_repl_offset:2000")
	f("gone, no longer kept", "link_down lost lag -..- bytes - age - exposure -", primary+"master_repl_offset:200", lost+"master_repl_offset:2000")
	f("gone, was back in between", "link_down lag -..- bytes - age - exposure -", primary+"sync_full:1 sync_partial_ok:0 master_repl_offset:200",
		lost+"sync_full:1 sync_partial_ok:1 master_repl_offset:2000")
	f("gone, nothing is kept", "link_down lost lag -..- bytes - age - exposure -",
		strings.ReplaceAll(primary, "active:1", "active:0")+"master_repl_offset:200")
}

// What the source writes is told without its PINGs, so that idle is idle.
func TestWritten(t *testing.T) {
	var m Memory
	var marks []string
	for i, offset := range []int{100, 100, 114, 128, 200, 214, 228, 270} {
		marks = append(marks, Source(sourceLink, at(i, fmt.Sprintf("%smaster_repl_offset:%d", primary, offset)), &m).Written)
	}
	if got := strings.Join(marks, " "); got != "x:100 x:100 x:100 x:100 x:200 x:200 x:200 x:270" {
		t.Error(got)
	}
}
