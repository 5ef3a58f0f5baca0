package ledger

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// record is a change as it is stored.
type record struct {
	key   string
	value any
	index string // key that points at the record, empty for none
	id    string // what the index key holds
	ended bool   // the index key must go
	once  bool   // the key must not exist yet
	// takes is a key that must be there and goes with it, empty for none.
	takes string
}

// storedLine is a line without what the ledger fills in when it is read.
type storedLine struct {
	core.Line
	Seq *int64 `json:"seq,omitempty"`
	N   *int   `json:"n,omitempty"`
}

// toRecord says where a change goes; line gives the key of the next line.
func toRecord(c core.Change, line func() string) (record, error) {
	var out []record
	var id string
	if e := c.Episode; e != nil {
		id = e.ID
		out = append(out, record{
			key: prefixEpisode + part(id), value: e,
			index: prefixOpen + part(id), id: id, ended: e.ClosedAt != nil,
		})
	}
	if d := c.Decision; d != nil {
		id = d.ID
		out = append(out, record{
			key: prefixDecision + part(id), value: d,
			index: indexKey(prefixDecisionsOf, d.EpisodeID, d.N, id), id: id,
		})
	}
	if a := c.Action; a != nil {
		id = a.ID
		out = append(out, record{key: prefixAction + part(id), value: a})
	}
	if i := c.Intent; i != nil {
		id = i.ID
		out = append(out, record{key: prefixIntent + part(id), value: i, once: true})
	}
	if r := c.Routing; r != nil {
		id = r.Subject.Site
		out = append(out, record{key: routingKey(r.Subject), value: r})
	}
	if n := c.Notice; n != nil {
		id = n.ID
		out = append(out, record{
			key: prefixNotice + part(id), value: n,
			index: indexKey(prefixNoticesOf, n.EpisodeID, n.N, id), id: id,
		})
	}
	if c.Brake != nil {
		id = "all"
		out = append(out, record{key: keyBrake, value: c.Brake})
	}
	if c.Line != nil {
		id = "next"
		out = append(out, record{key: line(), value: storedLine{Line: *c.Line}})
	}
	if t := c.Told; t != nil {
		id = t.ID
		out = append(out, record{key: toldKey(t.Site, t.ID), value: t})
	}
	if a := c.Answer; a != nil {
		id = a.OrderID
		out = append(out, record{key: liveAnswer + part(id), value: a.Reply, takes: liveOrder + part(id)})
	}
	if len(out) != 1 {
		return record{}, fmt.Errorf("a change has %d records instead of one", len(out))
	}
	if id == "" {
		return record{}, fmt.Errorf("a record under %s has no id", out[0].key)
	}
	return out[0], nil
}

// decode reads one value into a T.
func decode[T any](kv *mvccpb.KeyValue) (*T, error) {
	out := new(T)
	if err := json.Unmarshal(kv.GetValue(), out); err != nil {
		return nil, &core.Error{
			Code: core.CodeInternal, Message: "the record " + string(kv.GetKey()) + " cannot be read",
			Hint: "it was written by another version, or the data directory is damaged", Err: err,
		}
	}
	return out, nil
}

func decodeLine(kv *mvccpb.KeyValue) (*core.Line, error) {
	out, err := decode[core.Line](kv)
	if err != nil {
		return nil, err
	}
	_, n, err := parseLineKey(string(kv.GetKey()))
	out.Seq, out.N = kv.GetCreateRevision(), n
	return out, err
}

func decodeIntent(kv *mvccpb.KeyValue) (*core.Intent, error) {
	out, err := decode[core.Intent](kv)
	if err != nil {
		return nil, err
	}
	out.Seq = kv.GetCreateRevision()
	return out, nil
}

// toChange is the inverse of toRecord; ok is false for keys that are no change.
func toChange(kv *mvccpb.KeyValue) (c core.Change, ok bool, err error) {
	key := string(kv.GetKey())
	is := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
	switch {
	case is(prefixEpisode):
		c.Episode, err = decode[core.Episode](kv)
	case is(prefixDecision):
		c.Decision, err = decode[core.Decision](kv)
	case is(prefixAction):
		c.Action, err = decode[core.Action](kv)
	case is(prefixIntent):
		c.Intent, err = decodeIntent(kv)
	case is(prefixRouting):
		c.Routing, err = decode[core.Routing](kv)
	case is(prefixNotice):
		c.Notice, err = decode[core.Notice](kv)
	case is(prefixLine):
		c.Line, err = decodeLine(kv)
	case key == keyBrake:
		c.Brake, err = decode[core.Brake](kv)
	default:
		return c, false, nil
	}
	return c, err == nil, err
}
