package nats

import (
	"context"
	"errors"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Store is the heartbeats of one server as the agent keeps them: those of the own site are written into one stream, those of
// the others are read from the copies of theirs. There are no canaries: a message of a stream does not change, and one that is
// missing would be a canary only by chance.
type Store struct {
	conn   *conn
	stream string              // where the own beats are written; empty: nowhere
	copies map[string][]string // streams here that copy a site's
	last   uint64              // sequence of the own beat that was read last
	puts   int                 // since the stream's limits were looked at
}

// recheck is after how many beats the limits of the stream are looked at again.
const recheck = 60

var _ heartbeat.Store = (*Store)(nil)

// NewStore makes a Store; it does not connect. The caller bounds each call by its context.
func NewStore(s Server, stream string, copies map[string][]string) (*Store, error) {
	if stream != "" && !site(stream) {
		return nil, &heartbeat.Failure{Reason: replica.ReasonMisconfigured, Detail: "the stream is no name"}
	}
	c, err := newConn(s)
	if err != nil {
		return nil, err
	}
	return &Store{conn: c, stream: stream, copies: copies}, nil
}

// Close closes the connection.
func (s *Store) Close() { s.conn.close() }

// Rows reads the newest beats and echoes of the names.
func (s *Store) Rows(ctx context.Context, names heartbeat.Names) (heartbeat.Rows, error) {
	rows := heartbeat.Rows{In: map[string]string{}, Unread: map[string]*heartbeat.Failure{}}
	if s.stream != "" && names.Own != "" {
		m, err := s.beat(ctx, &rows, names.Own, s.stream)
		if err != nil {
			return rows, err
		}
		s.last = m.V.Seq
	}
	for _, peer := range names.Peers {
		for _, stream := range s.copies[peer] {
			found, err := s.peer(ctx, &rows, names.Own, peer, stream)
			if f, ok := errors.AsType[*heartbeat.Failure](err); ok && f.Harmless() {
				rows.Unread[peer] = f
				continue // a copy that is not there, or must not be read, does not keep the own beat from being written
			}
			if err != nil {
				return rows, err
			}
			if found {
				delete(rows.Unread, peer)
				break // a subject is in one stream of its site only
			}
		}
	}
	return rows, nil
}

// peer reads what a copy has of its site; found is that there is a beat.
func (s *Store) peer(ctx context.Context, rows *heartbeat.Rows, own, peer, stream string) (found bool, err error) {
	m, err := s.beat(ctx, rows, peer, stream)
	if err != nil {
		return false, err
	}
	return m.OK, s.echo(ctx, rows, peer, own, stream)
}

func (s *Store) beat(ctx context.Context, rows *heartbeat.Rows, origin, stream string) (replica.Opt[MessageRow], error) {
	m, err := s.conn.message(ctx, stream, get{Last: beatSubject(origin)})
	if err != nil {
		return m, told(err)
	}
	if !m.OK {
		return m, nil
	}
	b, ok := heartbeat.ParseBeat(origin, string(m.V.Data))
	if !ok {
		return m, &heartbeat.Failure{Reason: replica.ReasonIncomplete, Detail: "the heartbeat's subject holds something else"}
	}
	rows.Beats, rows.In[origin] = append(rows.Beats, b), stream
	return m, nil
}

func (s *Store) echo(ctx context.Context, rows *heartbeat.Rows, observer, origin, stream string) error {
	if origin == "" {
		return nil
	}
	m, err := s.conn.message(ctx, stream, get{Last: echoSubject(observer, origin)})
	if err != nil {
		return told(err)
	}
	if !m.OK {
		return nil
	}
	e, ok := heartbeat.ParseEcho(observer, origin, string(m.V.Data))
	if !ok {
		return &heartbeat.Failure{Reason: replica.ReasonIncomplete, Detail: "the echo's subject holds something else"}
	}
	rows.Echoes = append(rows.Echoes, e)
	return nil
}

// Put publishes the beat, unless another one came since Rows, and then the echoes.
func (s *Store) Put(ctx context.Context, b heartbeat.Beat, echoes []heartbeat.Echo) error {
	if s.stream == "" || !site(b.Origin) {
		return &heartbeat.Failure{Reason: replica.ReasonMisconfigured, Detail: "no stream is named to write into, or the site is no name"}
	}
	if s.puts%recheck == 0 {
		row, err := s.conn.stream(ctx, s.stream)
		if err != nil {
			return told(err)
		}
		if why := row.Limits.unfit(); why != "" {
			return &heartbeat.Failure{Reason: replica.ReasonMisconfigured, Detail: why}
		}
	}
	s.puts++
	if err := publish(ctx, s.conn, s.stream, beatSubject(b.Origin), b.Text(), &s.last); err != nil {
		if errors.Is(err, errOvertaken) {
			return &heartbeat.Failure{Reason: replica.ReasonSplitBrain, Detail: "another beat was written at the same moment"}
		}
		return told(err)
	}
	for _, e := range echoes {
		if err := publish(ctx, s.conn, s.stream, echoSubject(e.Observer, e.Origin), e.Text(), nil); err != nil {
			// The beat is written; an echo that is not is an old one.
			return nil //nolint:nilerr // said above
		}
	}
	return nil
}

// told is a failure as all stores have it.
func told(err error) error {
	f := classify(err)
	return &heartbeat.Failure{Reason: f.Reason, Detail: f.Detail}
}
