package postgresql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// LinkSpec is one end of a link that is declared to be at the server.
//
// An empty Channel is physical streaming. A Channel is logical replication, and names the subscription unless Peer does.
// Peer is what the other end is known by here. At the source: the target's slot, application name or address; for a
// subscription also its name. At the target of a physical link: the slot it uses or the host it receives from, or empty for any.
type LinkSpec struct {
	Store, From, To, Channel string
	End                      replica.End
	Peer                     string
}

func (l LinkSpec) peer() string {
	if l.Peer != "" {
		return l.Peer
	}
	return l.Channel
}

func (l LinkSpec) sighting() replica.Sighting {
	return replica.Sighting{Link: replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}, End: l.End}
}

func (l LinkSpec) check() error {
	name := replica.Link{Store: l.Store, From: l.From, To: l.To}.Name()
	switch {
	case l.Store == "" || l.From == "" || l.To == "":
		return fmt.Errorf("link %q: store, from and to must be named", name)
	case l.End != replica.Source && l.End != replica.Target:
		return fmt.Errorf("link %q: the end is %q, want source or target", name, l.End)
	case l.End == replica.Source && l.peer() == "":
		return fmt.Errorf("link %q: the source must know its target by slot, application name or address", name)
	}
	return nil
}

// Options is where to look and for what.
type Options struct {
	DSN          string // URL or keywords, as libpq reads them
	PasswordFile string // wins over a password in DSN; read at every connect; empty: none
	Links        []LinkSpec
	Timeout      time.Duration // of a whole look; 0: 2 s
	// Silence is how long a link may be silent before it is down; 0: as long as the server's own wal_receiver_timeout
	// or wal_sender_timeout. With a heartbeat each second, 5 s is enough.
	Silence time.Duration
}

// Report is what one look told.
type Report struct {
	Sightings []replica.Sighting // one for each declared link, in their order
}

// Engine looks at one server. It holds one connection at most and is safe for concurrent use; looks wait for each other.
type Engine struct {
	dial    dialer
	links   []LinkSpec
	timeout time.Duration
	silence time.Duration

	mu            sync.Mutex
	conn          *pgx.Conn
	subscriptions string // query for this connection's version and rights
	standbys      map[int]standbyKept
	sources       map[int]sourceKept
	subs          map[int]subscriptionKept
}

// New checks the options. It does not connect.
func New(o Options) (*Engine, error) {
	if len(o.Links) == 0 {
		return nil, errors.New("look at postgresql: no links are declared")
	}
	for _, l := range o.Links {
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("look at postgresql: %w", err)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	dial, err := newDialer(o.DSN, o.PasswordFile, o.Timeout, true)
	if err != nil {
		return nil, fmt.Errorf("look at postgresql: %w", err)
	}
	return &Engine{
		dial: dial, links: append([]LinkSpec(nil), o.Links...), timeout: o.Timeout, silence: o.Silence,
		standbys: map[int]standbyKept{}, sources: map[int]sourceKept{}, subs: map[int]subscriptionKept{},
	}, nil
}

// Close ends the connection. A later Look opens a new one.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop(context.Background())
}

func (e *Engine) drop(ctx context.Context) {
	if e.conn != nil {
		hangUp(ctx, e.conn)
		e.conn = nil
	}
}

// Look reads the server once. It returns within Timeout, give or take the scheduler, with one sighting for each declared
// link whatever happened.
func (e *Engine) Look(ctx context.Context) Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := time.Now()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := e.connect(ctx); err != nil {
		return e.failed(err)
	}
	answers := e.read(ctx)
	out := make([]replica.Sighting, len(e.links))
	for i, link := range e.links {
		out[i] = e.judge(i, link, answers, at)
	}
	if e.conn.IsClosed() || ctx.Err() != nil {
		e.drop(ctx)
	}
	return Report{out}
}

// answers is what the queries brought, each with its own error: one that fails does not spoil the links that need others.
type answers struct {
	standby    []standbyRow
	standbyErr error
	sources    []sourceRow
	slots      []slotRow
	sourceErr  error
	subs       []subscriptionRow
	subsErr    error
	extra      []extraRow
}

func (e *Engine) read(ctx context.Context) answers {
	var a answers
	var physical, logical, source bool
	for _, l := range e.links {
		physical = physical || (l.End == replica.Target && l.Channel == "")
		logical = logical || (l.End == replica.Target && l.Channel != "")
		source = source || l.End == replica.Source
	}
	if physical {
		a.standby, a.standbyErr = query[standbyRow](ctx, e.conn, standbySQL)
	}
	if source {
		// Slots first: a peer that is seen as connected has its slot.
		if a.slots, a.sourceErr = query[slotRow](ctx, e.conn, slotSQL); a.sourceErr == nil {
			a.sources, a.sourceErr = query[sourceRow](ctx, e.conn, sourceSQL)
		}
	}
	if logical {
		a.subs, a.subsErr = query[subscriptionRow](ctx, e.conn, e.subscriptions)
	}
	var err error
	if a.extra, err = query[extraRow](ctx, e.conn, extraSQL); err != nil {
		a.extra = nil // they are absent then; no state hangs on them
	}
	return a
}

// judge tells one link and remembers what the next look needs.
func (e *Engine) judge(i int, link LinkSpec, a answers, at time.Time) replica.Sighting {
	var s replica.Sighting
	var err error
	switch {
	case link.End == replica.Source:
		if err = a.sourceErr; err == nil {
			s, e.sources[i] = source(link, a.sources, a.slots, e.sources[i], e.silence, at)
			if len(a.sources) > 0 {
				s.Extra = append(s.Extra, timeline(a.sources[0].Timeline)...)
			}
		}
	case link.Channel != "":
		if err = a.subsErr; err == nil {
			s, e.subs[i] = subscription(link, a.subs, e.subs[i], e.silence)
		}
	default:
		if err = a.standbyErr; err == nil && len(a.standby) != 1 {
			err = errAnswer
		}
		if err == nil {
			row := a.standby[0]
			s, e.standbys[i] = standby(link, row, e.standbys[i], e.silence)
			s.Extra = append(s.Extra, timeline(row.Timeline)...)
			s.Extra = append(s.Extra, delayMeasure(row.ApplyDelay)...)
		}
	}
	if err != nil {
		reason, detail := explain(err)
		s = because(link.sighting(), replica.Unknown, reason, detail)
	}
	for _, row := range a.extra {
		s.Extra = append(s.Extra, row.measures()...)
	}
	return s
}

// failed is the report of a look that got no answer.
func (e *Engine) failed(err error) Report {
	reason, detail := explain(err)
	out := make([]replica.Sighting, len(e.links))
	for i, link := range e.links {
		out[i] = because(link.sighting(), replica.Unknown, reason, detail)
	}
	return Report{out}
}

// connect opens the connection when there is none, and finds out what it may ask.
func (e *Engine) connect(ctx context.Context) error {
	if e.conn != nil {
		return nil
	}
	conn, err := e.dial.connect(ctx)
	if err != nil {
		return err
	}
	version := serverVersion(conn.PgConn().ParameterStatus("server_version"))
	if version < 10 {
		hangUp(ctx, conn)
		return errVersion
	}
	var mayReadOrigin bool
	if err := conn.QueryRow(ctx, originRightSQL).Scan(&mayReadOrigin); err != nil {
		hangUp(ctx, conn)
		return fmt.Errorf("ask for rights: %w", err)
	}
	applied, stats := "NULL", "NULL"
	if mayReadOrigin {
		applied = appliedSQL
	}
	if version >= 15 {
		stats = statsSQL
	}
	e.conn, e.subscriptions = conn, fmt.Sprintf(subscriptionSQL, applied, stats)
	return nil
}

// serverVersion is the major version in a text such as "15.18 (Debian 15.18-0+deb12u1)" or "19beta1"; 0 when there is none.
func serverVersion(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	n, err := strconv.Atoi(text[:end])
	if err != nil {
		return 0
	}
	return n
}

// query reads all rows of one statement into a struct by the names of its columns.
func query[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return out, nil
}

// password reads the file; a line end at its end is no part of the password.
func password(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPasswordFile, err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}
