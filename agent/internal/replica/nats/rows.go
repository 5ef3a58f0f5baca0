package nats

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	driver "github.com/nats-io/nats.go"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// StreamRow is the answer to STREAM.INFO as far as it is used. The leader of the stream gives it.
type StreamRow struct {
	Name        string
	Made        time.Time // when the stream was created
	Now         time.Time // the answering server's clock
	First, Last uint64    // of an empty stream First is Last+1, and both are 0 when it never had a message
	Messages    uint64
	Subjects    []string
	Clustered   bool
	Leader      string // empty in a cluster: there is none
	Replicas    []ReplicaRow
	Mirror      replica.Opt[SourceRow]
	Sources     []SourceRow
	Limits      LimitsRow
}

// LimitsRow is what bounds a stream; 0 and below: nothing does.
type LimitsRow struct {
	Retention                   string // limits, interest or workqueue
	Messages, Bytes, PerSubject int64
}

// beatBytes is the room that a heartbeat or an echo takes at most.
const beatBytes = 512

// unfit is why heartbeats must not be written into the stream: they would displace or hold up what users keep there. Empty: they may.
func (l LimitsRow) unfit() string {
	const share = 10 // of the stream may be heartbeats: a tenth
	switch {
	case l.Retention != "" && l.Retention != "limits":
		return "the stream keeps messages until they are consumed (" + l.Retention + "), and nobody consumes heartbeats: name a stream with limits"
	case l.Messages <= 0 && l.Bytes <= 0:
		return ""
	case l.PerSubject <= 0:
		return "the stream has a limit, and heartbeats would displace messages: set its max_msgs_per_subject"
	case l.Messages > 0 && l.PerSubject > l.Messages/share, l.Bytes > 0 && l.PerSubject > l.Bytes/beatBytes/share:
		return "the stream's max_msgs_per_subject is so large that heartbeats would displace messages: lower it"
	}
	return ""
}

// ReplicaRow is a follower of a stream in its cluster.
type ReplicaRow struct {
	Current, Offline bool
	Lag              uint64 // Raft operations
}

// SourceRow is what a stream says of one that it copies from.
type SourceRow struct {
	Name      string
	APIPrefix string // of the origin when it is in another account or domain; empty: in the same
	// Active is since the origin was last heard, idle heartbeats included. Absent: never. The server also counts the
	// making of its own consumer as heard.
	Active replica.Opt[time.Duration]
	// Seq is the origin's sequence of the last message that is stored; of sources only, and from 2.15 on.
	Seq        replica.Opt[uint64]
	Error      replica.Opt[int64] // JetStream's error code
	Filter     string
	Transforms []Transform
}

// Transform is which subjects are copied and what becomes of them.
type Transform struct{ From, To string }

// MessageRow is a stored message.
type MessageRow struct {
	Seq    uint64
	Time   time.Time // when it was stored; a mirror keeps the time of its origin
	Source string    // the header Nats-Stream-Source
	Data   []byte
}

// sourceHeader names where a message of a stream with sources came from.
const sourceHeader = "Nats-Stream-Source"

// apiError is an error that JetStream answers with.
type apiError struct {
	Code        int `json:"code"`
	ErrCode     int `json:"err_code"`
	Description string
}

func (e *apiError) Error() string { return e.Description }

// errAnswer says that an answer lacks something that it must have, or is none.
var errAnswer = errors.New("the answer is not complete")

type streamAnswer struct {
	Error  *apiError `json:"error"`
	Config *struct {
		Name     string   `json:"name"`
		Subjects []string `json:"subjects"`

		Retention  string `json:"retention"`
		Messages   int64  `json:"max_msgs"`
		Bytes      int64  `json:"max_bytes"`
		PerSubject int64  `json:"max_msgs_per_subject"`
	} `json:"config"`
	Created *time.Time `json:"created"`
	State   *struct {
		Messages uint64  `json:"messages"`
		First    *uint64 `json:"first_seq"`
		Last     *uint64 `json:"last_seq"`
	} `json:"state"`
	Cluster *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Current bool   `json:"current"`
			Offline bool   `json:"offline"`
			Lag     uint64 `json:"lag"`
		} `json:"replicas"`
	} `json:"cluster"`
	Mirror  *sourceAnswer  `json:"mirror"`
	Sources []sourceAnswer `json:"sources"`
	Now     *time.Time     `json:"ts"`
}

type sourceAnswer struct {
	Name     string `json:"name"`
	External *struct {
		API string `json:"api"`
	} `json:"external"`
	Active     *time.Duration `json:"active"`
	Seq        uint64         `json:"seq"`
	Error      *apiError      `json:"error"`
	Filter     string         `json:"filter_subject"`
	Transforms []struct {
		From string `json:"src"`
		To   string `json:"dest"`
	} `json:"subject_transforms"`
}

// ParseStream reads an answer to STREAM.INFO. An error that JetStream answered with is of type *apiError.
func ParseStream(data []byte) (StreamRow, error) {
	var a streamAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return StreamRow{}, errAnswer
	}
	if a.Error != nil {
		return StreamRow{}, a.Error
	}
	if a.Config == nil || a.Created == nil || a.State == nil || a.State.First == nil || a.State.Last == nil || a.Now == nil || a.Now.IsZero() {
		return StreamRow{}, errAnswer
	}
	row := StreamRow{
		Name: a.Config.Name, Subjects: a.Config.Subjects, Made: *a.Created, Now: *a.Now,
		First: *a.State.First, Last: *a.State.Last, Messages: a.State.Messages,
		Limits: LimitsRow{a.Config.Retention, a.Config.Messages, a.Config.Bytes, a.Config.PerSubject},
	}
	if row.Last == math.MaxUint64 || (row.First > row.Last+1) {
		return StreamRow{}, errAnswer
	}
	if c := a.Cluster; c != nil {
		// A server outside of a cluster tells itself as the leader; only a group has followers.
		row.Clustered, row.Leader = true, c.Leader
		for _, r := range c.Replicas {
			row.Replicas = append(row.Replicas, ReplicaRow{Current: r.Current, Offline: r.Offline, Lag: r.Lag})
		}
	}
	if a.Mirror != nil {
		row.Mirror = replica.Some(a.Mirror.row())
	}
	for _, s := range a.Sources {
		row.Sources = append(row.Sources, s.row())
	}
	return row, nil
}

func (a sourceAnswer) row() SourceRow {
	r := SourceRow{Name: a.Name, Filter: a.Filter}
	if a.External != nil {
		r.APIPrefix = a.External.API
	}
	if a.Active != nil && *a.Active >= 0 {
		r.Active = replica.Some(*a.Active)
	}
	if a.Seq > 0 {
		r.Seq = replica.Some(a.Seq)
	}
	if a.Error != nil {
		r.Error = replica.Some(int64(a.Error.ErrCode))
	}
	for _, t := range a.Transforms {
		r.Transforms = append(r.Transforms, Transform{t.From, t.To})
	}
	return r
}

type messageAnswer struct {
	Error   *apiError `json:"error"`
	Message *struct {
		Seq    uint64     `json:"seq"`
		Header []byte     `json:"hdrs"`
		Data   []byte     `json:"data"`
		Time   *time.Time `json:"time"`
	} `json:"message"`
}

// noMessage is JetStream's error code for a message that is not there.
const noMessage = 10037

// ParseMessage reads an answer to STREAM.MSG.GET; absent is that there is no such message.
func ParseMessage(data []byte) (replica.Opt[MessageRow], error) {
	var none replica.Opt[MessageRow]
	var a messageAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return none, errAnswer
	}
	switch {
	case a.Error != nil && a.Error.ErrCode == noMessage:
		return none, nil
	case a.Error != nil:
		return none, a.Error
	case a.Message == nil || a.Message.Seq == 0 || a.Message.Time == nil:
		return none, errAnswer
	}
	row := MessageRow{Seq: a.Message.Seq, Time: *a.Message.Time, Data: a.Message.Data}
	if len(a.Message.Header) > 0 {
		header, err := driver.DecodeHeadersMsg(a.Message.Header)
		if err != nil {
			return none, errAnswer
		}
		row.Source = header.Get(sourceHeader)
	}
	return replica.Some(row), nil
}

// domain is the JetStream domain of an API prefix; empty when it is none.
func domain(prefix string) string {
	rest, ok := strings.CutPrefix(prefix, "$JS.")
	if !ok {
		return ""
	}
	name, ok := strings.CutSuffix(rest, ".API")
	if !ok {
		return ""
	}
	return name
}
