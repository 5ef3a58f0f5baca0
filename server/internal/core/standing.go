package core

import "time"

// Standing is what decide remembers of an episode between two inputs. It is stored inside the episode, so
// that a restart goes on as if nothing had happened.
type Standing struct {
	DecidedAt  time.Time `json:"decided_at,omitzero"` // of the last decision record
	Verdict    Verdict   `json:"verdict"`
	Policy     string    `json:"policy,omitempty"`
	Objections []string  `json:"objections,omitempty"` // names of the guards that did not plainly pass
	// Need is the hold that the last decision asked for.
	Need time.Duration `json:"need_ns,omitempty"`
	// Stretch is the start of the continuous failure under way; Paused is how much of it passed in tilt and
	// TiltSince since when the present tilt has been pausing it.
	Stretch   *time.Time    `json:"stretch,omitempty"`
	Paused    time.Duration `json:"paused_ns,omitempty"`
	TiltSince *time.Time    `json:"tilt_since,omitempty"`
	Veto      *Veto         `json:"veto,omitempty"`
	// KindSince is since when the present condition and kind stand. WorstKind is the kind that stood longest,
	// for WorstFor, at the worst condition so far: what the trouble is called in the end.
	KindSince time.Time     `json:"kind_since,omitzero"`
	WorstKind string        `json:"worst_kind,omitempty"`
	WorstFor  time.Duration `json:"worst_for_ns,omitempty"`
	// PageKind is the kind of trouble at the first notice: it is a part of the deduplication key, which must
	// not change while the episode is open.
	PageKind string   `json:"page_kind,omitempty"`
	Told     []string `json:"told,omitempty"` // what people have been paged about once and shall not be again
}

// Veto is a person's no to a plan. It stands while the kind of trouble stays the same.
type Veto struct {
	Plan   string    `json:"plan"`
	Kind   string    `json:"kind"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}
