package act

import (
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// maxReason is the longest reason that goes to an executor, in bytes; the whole body must stay below 20 KB.
const maxReason = 2000

// request is the intent as an executor is told it: the same for all attempts, also after a restart.
func (h *Hand) request(in core.Intent) remediations.Request {
	service := in.Subject.Service
	if in.Subject.WholeSite() {
		service = core.AllServices
	}
	kind := remediations.TypeDrain
	if in.Kind == core.PlanRestore {
		kind = remediations.TypeRestore
	}
	scope := []string{string(core.ScopeReads)}
	if in.Moves != "" {
		scope = []string{string(in.Moves)}
	}
	who := h.o.Identity()
	d := remediations.Data{
		ActionID: in.ActionID, EpisodeID: in.EpisodeID,
		Site: in.Subject.Site, Service: service, Unit: in.Subject.Unit,
		DesiredState: in.State.String(), Scope: scope,
		Seq:     in.Seq,
		Fencing: remediations.Fencing{ClusterID: who.ClusterID, Epoch: who.Epoch, Seq: in.Seq},
		Mode:    in.Mode.String(), NotBefore: in.At, NotAfter: in.NotAfter,
		Step:         remediations.Step{N: in.Step, Of: in.Of, Weight: in.Weight},
		Precondition: remediations.Precondition{MinActiveSites: in.MinActive},
		Reason:       remediations.Reason{Summary: cut(in.Reason, maxReason)},
	}
	if in.ExpiresAt != nil {
		d.ExpiresAt = *in.ExpiresAt
	}
	if h.o.BaseURL != "" && in.EpisodeID != "" {
		d.Reason.EvidenceURL = strings.TrimRight(h.o.BaseURL, "/") + "/api/v1/episodes/" + in.EpisodeID
	}
	return remediations.Request{ID: in.ID, Type: kind, At: in.At, Data: d}
}

// cut shortens text to at most n bytes without breaking a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-3], "") + "..."
}

// millis is a duration in milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
