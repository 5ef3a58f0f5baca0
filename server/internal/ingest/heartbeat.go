package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// maxHeartbeat bounds the body of a heartbeat.
const maxHeartbeat = 16 << 10

// causality is how far a heartbeat may seem to come from the future, beyond the error it claims, before its
// offset is disbelieved: nothing arrives before it was sent.
const causality = 500 * time.Millisecond

// maxClock bounds offsets and errors, so that sums cannot overflow.
const maxClock = int64(10 * 365 * 24 * time.Hour)

// heartbeatBody is what an agent says each second. Fields that are not known are ignored: agent and server
// may differ by two minor versions.
type heartbeatBody struct {
	AgentID    string `json:"agent_id"`
	Role       string `json:"role"`
	Seq        uint64 `json:"seq"`
	T1         int64  `json:"t1_unix_ns"`
	ClockKnown bool   `json:"clock_known"`
	OffsetNS   int64  `json:"offset_ns"`
	ErrorNS    int64  `json:"error_ns"`
}

// heartbeat takes note of the agent's clock, tells health that it is alive, and answers with ours.
func (d *Door) heartbeat(w http.ResponseWriter, r *http.Request, caller core.Credential) error {
	now := d.o.Now()
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHeartbeat))
	if err != nil {
		return bodyError(err)
	}
	var b heartbeatBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return &refusal{http.StatusBadRequest, core.CodeInvalid, "the heartbeat is not the expected JSON", "see protocols.md b.6"}
	}
	if err := b.check(); err != nil {
		return &refusal{http.StatusBadRequest, core.CodeInvalid, "the heartbeat is not valid: " + err.Error(), "see protocols.md b.6"}
	}
	t1 := time.Unix(0, b.T1)
	c := reading{offset: time.Duration(b.OffsetNS), err: time.Duration(b.ErrorNS), at: now, known: b.ClockKnown}
	if c.known && t1.Add(-c.offset).Sub(now) > c.err+causality {
		// The agent's clock jumped since it measured. The next exchange will tell by how much.
		c.known = false
		d.metrics.clocks.WithLabelValues("ahead").Inc()
	}
	d.clocks.set(caller.ID, b.AgentID, c)
	if b.Role == "site" && caller.Kind == kindSite {
		f := core.Fact{
			Kind: core.FactHeartbeat, Site: caller.Name, Agent: b.AgentID, Target: b.AgentID, Seq: b.Seq,
			AgentAt: t1, ReceivedAt: now, Interval: d.o.HeartbeatInterval,
			ClockOffset: c.offset, ClockErr: c.err, ClockKnown: c.known,
		}
		d.handOn([]core.Fact{f}, now)
	}
	answer := struct {
		T2       int64  `json:"t2_unix_ns"`
		T3       int64  `json:"t3_unix_ns"`
		Revision *int64 `json:"revision,omitempty"`
	}{T2: now.UnixNano()}
	if d.o.Revision != nil {
		rev := d.o.Revision()
		answer.Revision = &rev
	}
	answer.T3 = d.o.Now().UnixNano()
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
	return nil
}

func (b *heartbeatBody) check() error {
	switch {
	case b.AgentID == "" || len(b.AgentID) > 128:
		return errors.New("agent_id has 1 to 128 bytes")
	case b.Role != "site" && b.Role != "host":
		return errors.New("role is site or host")
	case b.T1 <= 0:
		return errors.New("t1_unix_ns is the time of sending")
	case b.ErrorNS < 0 || b.ErrorNS > maxClock || b.OffsetNS > maxClock || b.OffsetNS < -maxClock:
		return fmt.Errorf("offset_ns and error_ns are within %d", maxClock)
	}
	return nil
}
