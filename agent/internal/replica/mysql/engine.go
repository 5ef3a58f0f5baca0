package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// LinkSpec is one end of a link that this server is.
type LinkSpec struct {
	Store, From, To, Channel string
	End                      replica.End
	// Peer is, at the target, the name of the replication connection or channel if it is not Channel; at the source, the
	// user or the host of the replica, empty for any.
	Peer string
}

func (l LinkSpec) connection() string {
	if l.Peer != "" {
		return l.Peer
	}
	return l.Channel
}

func (l LinkSpec) sighting() replica.Sighting {
	return replica.Sighting{
		Link: replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}, End: l.End, State: replica.Unknown,
	}
}

// Options of an engine. HeartbeatDatabase is where the tables of HeartbeatDDL are; empty: there are none. Heartbeat is the
// writer of this site's beats if it has one; with it the source end knows what is exposed.
type Options struct {
	Server
	Links             []LinkSpec
	HeartbeatDatabase string
	Heartbeat         *Heartbeat
}

// Report is one look at all links: one sighting for each of Options.Links, in their order. Beats tells of each whether its
// bounds are those of a heartbeat, as replica.Look wants to know.
type Report struct {
	Began, Ended time.Time
	Sightings    []replica.Sighting
	Beats        []bool
}

// Engine looks at one server. It is safe for concurrent use; looks follow each other.
type Engine struct {
	options Options

	mu      sync.Mutex
	session session
	maria   map[LinkSpec]kept[mariaPos]
	mysql   map[LinkSpec]kept[gtidSet]
	doubts  map[string]time.Time // since when a prepared transaction is seen
	rows    func(context.Context) (heartbeat.Rows, error)
}

// New checks the options. It does not connect: the server may come later.
func New(options Options) (*Engine, error) {
	if _, _, err := net.SplitHostPort(options.Address); err != nil {
		return nil, errors.New("mysql: the address is not host:port")
	}
	if options.User == "" {
		return nil, errors.New("mysql: a user is needed, the account that looks")
	}
	seen := map[LinkSpec]bool{}
	for _, link := range options.Links {
		if link.End != replica.Source && link.End != replica.Target {
			return nil, fmt.Errorf("link %s:%s>%s: end %q is neither source nor target", link.Store, link.From, link.To, link.End)
		}
		if seen[link] {
			return nil, fmt.Errorf("link %s:%s>%s is declared twice", link.Store, link.From, link.To)
		}
		seen[link] = true
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	options.Links = slices.Clone(options.Links)
	return &Engine{
		options: options, session: session{server: options.Server},
		maria: map[LinkSpec]kept[mariaPos]{}, mysql: map[LinkSpec]kept[gtidSet]{},
	}, nil
}

// BeatsFrom makes looks take the heartbeats from somebody who reads them by an account of his own, instead of from
// Options.HeartbeatDatabase. It is called before the first look.
func (e *Engine) BeatsFrom(rows func(context.Context) (heartbeat.Rows, error)) { e.rows = rows }

// Close ends the connection. A later look opens a new one.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.session.close()
}

// Look asks the server once and tells what it saw of every link, whatever happens. It takes no longer than the timeout.
func (e *Engine) Look(ctx context.Context) Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
	defer cancel()
	report := Report{Began: time.Now()}
	got := e.ask(ctx)
	report.Ended = time.Now()
	for _, link := range e.options.Links {
		s, beaten := e.see(link, got, report)
		report.Sightings, report.Beats = append(report.Sightings, s), append(report.Beats, beaten)
	}
	return report
}

// answer is what one look brought. An error concerns only the part that it stands with; without a server nothing is there.
type answer struct {
	server    serverRow
	serverErr error
	maria     []mariaRow
	channels  []channelRow
	targetErr error
	dumps     []dumpRow
	dumpsErr  error
	beats     map[string]Beat
	echoes    []Echo
	beatsErr  error
	inDoubt   []replica.Measure
}

func (e *Engine) ask(ctx context.Context) answer {
	var a answer
	conn, err := e.session.open(ctx)
	if err == nil {
		a.server, err = readServer(ctx, conn)
	}
	if err != nil {
		e.session.close()
		a.serverErr = err
		return a
	}
	has := func(end replica.End) bool {
		return slices.ContainsFunc(e.options.Links, func(l LinkSpec) bool { return l.End == end })
	}
	if has(replica.Target) {
		switch {
		case a.server.mariaDB():
			a.maria, a.targetErr = readMaria(ctx, conn, a.server)
		case a.server.atLeast(8, 0):
			a.channels, a.targetErr = readChannels(ctx, conn, &a.server.Executed)
		default:
			a.targetErr = errOld
		}
	}
	if has(replica.Source) && a.server.Process {
		a.dumps, a.dumpsErr = readDumps(ctx, conn)
	}
	switch {
	case e.rows != nil:
		var rows heartbeat.Rows
		rows, a.beatsErr = e.rows(ctx)
		a.beats = map[string]Beat{}
		for _, b := range rows.Beats {
			a.beats[b.Origin] = Beat{b.Origin, b.Epoch, b.Seq, b.At, b.Interval}
		}
	case e.options.HeartbeatDatabase != "":
		a.beats, a.echoes, a.beatsErr = readBeats(ctx, conn, e.options.HeartbeatDatabase)
	}
	if len(a.beats) > 0 && slices.ContainsFunc(a.maria, func(r mariaRow) bool { return r.overtakes(a.server) }) {
		// Whether a beat came before what it should prove is told by positions that were read after it.
		if a.maria, a.targetErr = readMaria(ctx, conn, a.server); a.targetErr != nil {
			a.beats = nil
		}
	}
	if len(a.channels) > 0 && len(a.beats) > 0 {
		// An applier in a hurry may have taken more off the lag since than a look lasts: the lower bound of the positions must
		// not be older than the upper one of the heartbeats. Without an answer it is.
		_ = readExecuted(ctx, conn, &a.server.Executed)
	}
	e.doubts, a.inDoubt = inDoubt(readInDoubt(ctx, conn), e.doubts, time.Now())
	if ctx.Err() != nil {
		e.session.close() // the driver has given the connection up
	}
	return a
}

// errOld says that the performance schema of the server has no commit times.
var errOld = errors.New("mysql before 8.0 is not supported")

func (e *Engine) see(link LinkSpec, a answer, r Report) (replica.Sighting, bool) {
	failed := func(err error) (replica.Sighting, bool) {
		if errors.Is(err, errOld) {
			return because(link.sighting(), replica.Unknown, replica.ReasonMisconfigured, errOld.Error()), false
		}
		reason, detail := blame(err)
		return because(link.sighting(), replica.Unknown, reason, detail), false
	}
	if a.serverErr != nil {
		return failed(a.serverErr)
	}
	var s replica.Sighting
	beat, beaten := a.beats[link.From]
	opt := replica.Opt[Beat]{V: beat, OK: beaten}
	switch {
	case link.End == replica.Source:
		if a.dumpsErr != nil {
			return failed(a.dumpsErr)
		}
		s, beaten = source(link, a.server, a.dumps, e.exposure(link, a.echoes, r.Ended)), false
	case a.targetErr != nil:
		return failed(a.targetErr)
	case a.server.mariaDB():
		s, e.maria[link] = mariaTarget(link, a.maria, a.server, opt, e.maria[link], r.Began, r.Ended)
	default:
		s, e.mysql[link] = mysqlTarget(link, a.channels, a.server, opt, e.mysql[link], r.Began, r.Ended)
	}
	s.Extra = append(s.Extra, a.inDoubt...)
	if (e.rows != nil || e.options.HeartbeatDatabase != "") && link.End == replica.Target && !beaten && s.Detail == "" {
		s.Detail = "there is no heartbeat of the origin here"
		if a.beatsErr != nil {
			_, why := blame(a.beatsErr)
			s.Detail = "the heartbeats cannot be read: " + why
		}
	}
	return s, beaten
}

func (e *Engine) exposure(link LinkSpec, echoes []Echo, at time.Time) replica.Opt[time.Duration] {
	if e.options.Heartbeat == nil {
		return replica.Opt[time.Duration]{}
	}
	for _, echo := range echoes {
		if echo.Observer == link.To && echo.Origin == link.From {
			return e.options.Heartbeat.exposure(echo, at)
		}
	}
	return replica.Opt[time.Duration]{}
}
