package redis

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Row is one INFO and when it was asked and answered, by the agent's clock with monotonic reading.
type Row struct {
	Info
	Began, Ended time.Time
}

// Info is what an INFO told of replication. Texts are empty and figures absent when it did not.
type Info struct {
	Version, RunID string
	Loading        bool

	Role            string // master or slave
	ReplID, ReplID2 string
	Offset          replica.Opt[int64] // the newest byte of the server's own stream
	SecondOffset    replica.Opt[int64] // first offset that ReplID2 does not have
	Backlog         Backlog

	// At a replica.
	SourceHost     string
	SourcePort     replica.Opt[int64]
	LinkStatus     string
	LastIO         replica.Opt[int64] // seconds, whole; negative: not connected
	SyncInProgress bool
	SyncLeft       replica.Opt[int64]
	ReadOffset     replica.Opt[int64] // received
	AppliedOffset  replica.Opt[int64]
	ReadOnly       replica.Opt[bool]

	Replicas []Replica // of this server, in its order

	SyncFull, SyncPartialOK, SyncPartialErr replica.Opt[int64]
}

// Backlog is the end of the stream that a source keeps for replicas that come back.
type Backlog struct {
	Active              replica.Opt[bool]
	Size, First, Length replica.Opt[int64]
}

// Replica is what a source says of one of its replicas.
type Replica struct {
	IP, State, Type string
	Port            replica.Opt[int64]
	Offset          replica.Opt[int64] // acknowledged: applied
	Lag             replica.Opt[int64] // seconds since the last acknowledgement; 0 unless State is online
}

// ParseInfo reads the answer to INFO. It takes any text: what it does not understand is absent.
func ParseInfo(text string) Info {
	var in Info
	texts := map[string]*string{
		"redis_version": &in.Version, "run_id": &in.RunID, "role": &in.Role, "master_replid": &in.ReplID,
		"master_replid2": &in.ReplID2, "master_host": &in.SourceHost, "master_link_status": &in.LinkStatus,
	}
	numbers := map[string]*replica.Opt[int64]{
		"master_repl_offset": &in.Offset, "second_repl_offset": &in.SecondOffset, "master_port": &in.SourcePort,
		"master_last_io_seconds_ago": &in.LastIO, "master_sync_left_bytes": &in.SyncLeft,
		"slave_read_repl_offset": &in.ReadOffset, "slave_repl_offset": &in.AppliedOffset,
		"repl_backlog_size": &in.Backlog.Size, "repl_backlog_first_byte_offset": &in.Backlog.First,
		"repl_backlog_histlen": &in.Backlog.Length, "sync_full": &in.SyncFull,
		"sync_partial_ok": &in.SyncPartialOK, "sync_partial_err": &in.SyncPartialErr,
	}
	flags := map[string]func(bool){
		"loading":                 func(on bool) { in.Loading = on },
		"master_sync_in_progress": func(on bool) { in.SyncInProgress = on },
		"slave_read_only":         func(on bool) { in.ReadOnly = replica.Some(on) },
		"repl_backlog_active":     func(on bool) { in.Backlog.Active = replica.Some(on) },
	}
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !found {
			continue
		}
		if to := texts[key]; to != nil {
			*to = value
		} else if to := numbers[key]; to != nil {
			*to = number(value)
		} else if set := flags[key]; set != nil && (value == "0" || value == "1") {
			set(value == "1")
		} else if rest, is := strings.CutPrefix(key, "slave"); is && number(rest).OK {
			in.Replicas = append(in.Replicas, parseReplica(value))
		}
	}
	return in
}

// parseReplica reads "ip=…,port=…,state=…,offset=…,lag=…".
func parseReplica(value string) Replica {
	var r Replica
	for pair := range strings.SplitSeq(value, ",") {
		key, v, _ := strings.Cut(pair, "=")
		switch key {
		case "ip":
			r.IP = v
		case "state":
			r.State = v
		case "type":
			r.Type = v
		case "port":
			r.Port = number(v)
		case "offset":
			r.Offset = number(v)
		case "lag":
			r.Lag = number(v)
		}
	}
	return r
}

// number is a decimal integer, or absent. Figures near the ends of the range are refused, so that sums and differences
// of two of them hold.
func number(text string) replica.Opt[int64] {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > math.MaxInt64/4 || n < -math.MaxInt64/4 {
		return replica.Opt[int64]{}
	}
	return replica.Some(n)
}

// sameHistory reports whether the offsets of both compare: whether all that the target has is part of the source's stream.
func sameHistory(source, target Info) bool {
	if target.ReplID == "" || !target.AppliedOffset.OK {
		return false
	}
	if target.ReplID == source.ReplID {
		return true
	}
	// The source was promoted, and the target has nothing from after that on the old ID.
	return target.ReplID == source.ReplID2 && source.SecondOffset.OK && target.AppliedOffset.V < source.SecondOffset.V
}

// needsCopy reports whether a replica with this history that has applied so much needs a full copy to go on; absent when
// the source does not tell.
func needsCopy(b Backlog, applied int64) replica.Opt[bool] {
	switch {
	case b.Active.OK && !b.Active.V:
		return replica.Some(true)
	case !b.Active.OK || !b.First.OK || !b.Length.OK:
		return replica.Opt[bool]{}
	}
	next := applied + 1
	return replica.Some(next < b.First.V || next > b.First.V+b.Length.V)
}
