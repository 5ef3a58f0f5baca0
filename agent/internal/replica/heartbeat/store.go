package heartbeat

import (
	"context"
	"slices"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Store is where the heartbeats of one server are kept. One goroutine uses it at a time. All its errors are *Failure.
type Store interface {
	// Rows reads what the server has.
	Rows(ctx context.Context, names Names) (Rows, error)
	// Put writes a beat, its canary and the echoes, as one where the engine can. It writes nothing over a beat that is not
	// older (split_brain), nor where the server takes no writes (role). After an error with another reason than these, privilege
	// and misconfigured it is not known whether something was written.
	Put(ctx context.Context, beat Beat, echoes []Echo) error
	// Close ends the connection; a later call opens a new one.
	Close()
}

// Names is what may be in a Store, for engines that cannot list it.
type Names struct {
	Own   string   // origin that is written here; empty: none
	Peers []string // other origins, which are observers of Own too
}

// Rows is what a server has. What was not asked for may be among it.
type Rows struct {
	Beats    []Beat
	Echoes   []Echo
	Canaries []Canary
	// Whole says that beats and canaries were read in one moment and are written as one, so that they must agree.
	Whole bool
	// ReadOnly says that the server takes no writes.
	ReadOnly bool
	// In names where an origin's beat was found, by origin, where there are several places.
	In map[string]string
	// Unread is why what came of an origin could not be read, by origin, where the rest could.
	Unread map[string]*Failure
}

// Beat is the beat of an origin, if it is there.
func (r Rows) Beat(origin string) replica.Opt[Beat] {
	i := slices.IndexFunc(r.Beats, func(b Beat) bool { return b.Origin == origin })
	if i < 0 {
		return replica.Opt[Beat]{}
	}
	return replica.Some(r.Beats[i])
}

// Echo is the echo of an observer, if it is there.
func (r Rows) Echo(observer, origin string) replica.Opt[Echo] {
	i := slices.IndexFunc(r.Echoes, func(e Echo) bool { return e.Observer == observer && e.Origin == origin })
	if i < 0 {
		return replica.Opt[Echo]{}
	}
	return replica.Some(r.Echoes[i])
}

// Failure is why a Store did not do what it was asked. Its text holds nothing that the server or the driver said.
type Failure struct {
	Reason replica.Reason
	Detail string
}

func (f *Failure) Error() string { return "heartbeat: " + f.Detail }

// Harmless reports whether it is known that nothing was written.
func (f *Failure) Harmless() bool {
	switch f.Reason {
	case replica.ReasonRole, replica.ReasonSplitBrain, replica.ReasonPrivilege, replica.ReasonMisconfigured, replica.ReasonAuth:
		return true
	default:
		return false
	}
}

// Same reports whether both are the same beat, as far as a Store keeps it: to the microsecond.
func (b Beat) Same(other Beat) bool {
	return b.Epoch == other.Epoch && b.Seq == other.Seq && b.At.UnixMicro() == other.At.UnixMicro()
}

// After reports whether b was written after other by the same line of writers.
func (b Beat) After(other Beat) bool {
	return b.Epoch > other.Epoch || (b.Epoch == other.Epoch && b.Seq > other.Seq)
}
