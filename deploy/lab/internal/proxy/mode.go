package proxy

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is what a proxy does to its traffic.
type Kind uint8

// The kinds of a mode. The zero value passes: a cable without a fault.
const (
	Pass   Kind = iota
	Cut         // nothing flows in either direction, nothing connects
	OneWay      // nothing flows from the client to the upstream, nothing connects; answers still flow
	Refuse      // the port is closed and standing connections are reset
)

// String is the word for a mode in status output.
func (k Kind) String() string {
	switch k {
	case Pass:
		return "pass"
	case Cut:
		return "cut"
	case OneWay:
		return "one-way"
	case Refuse:
		return "refuse"
	}
	return "unknown"
}

// Mode is what a proxy does. Loss and Delay count for all kinds that let something flow.
type Mode struct {
	Kind Kind
	// Loss is the probability from 0 to 1 that a chunk of bytes has to be sent again. A lost chunk holds back
	// everything behind it for a retransmission time-out, as TCP does.
	Loss float64
	// Delay is added to each chunk in each direction.
	Delay time.Duration
}

// String is how a person reads the mode.
func (m Mode) String() string {
	s := m.Kind.String()
	if m.Loss > 0 {
		s += fmt.Sprintf(", %g %% loss", m.Loss*100)
	}
	if m.Delay > 0 {
		s += ", +" + m.Delay.String()
	}
	return s
}

// blocks reports whether nothing flows in the direction.
func (m Mode) blocks(toUpstream bool) bool {
	switch m.Kind {
	case Pass:
		return false
	case OneWay:
		return toUpstream
	case Cut, Refuse:
		return true
	}
	return true
}

// RFC 6298: the first time-out of a SYN is 1 s. For data Linux goes down to 200 ms. Both double each time.
const (
	synTimeout  = time.Second
	dataTimeout = 200 * time.Millisecond
	maxTries    = 6
)

// penalty is how long a chunk is held back: a time-out that doubles for each try that is lost as well.
func penalty(loss float64, timeout time.Duration, random func() float64) time.Duration {
	var total time.Duration
	for range maxTries {
		if random() >= loss {
			break
		}
		total += timeout
		timeout *= 2
	}
	return total
}

// hold is the wait of one chunk under the mode.
func (m Mode) hold(timeout time.Duration) time.Duration {
	d := m.Delay
	if m.Loss > 0 {
		d += penalty(m.Loss, timeout, rand.Float64)
	}
	return d
}
