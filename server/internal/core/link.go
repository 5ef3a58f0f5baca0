package core

import (
	"strings"
	"time"
)

// LinkView is what one end of a replication link said last: how far the target is behind its source. What is not known is
// absent; no figure is 0 that was not measured.
type LinkView struct {
	Link    string    `json:"link"` // <store>:<from>><to>
	Store   string    `json:"store"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Channel string    `json:"channel,omitempty"` // where there are several between the same two sites
	End     string    `json:"end"`               // source or target: which end was looked at
	Writer  string    `json:"writer"`            // the site whose agent looked
	State   LinkState `json:"state"`
	At      time.Time `json:"at"` // of the look

	LagLower     *float64   `json:"lag_lower_seconds,omitempty"` // at least so far behind
	LagUpper     *float64   `json:"lag_upper_seconds,omitempty"` // at most; absent when nothing bounds it, as when the link is down
	Exposure     *float64   `json:"exposure_seconds,omitempty"`  // upper bound for the age of what would be lost now
	Bytes        *float64   `json:"lag_bytes,omitempty"`
	Transactions *float64   `json:"lag_transactions,omitempty"`
	Messages     *float64   `json:"lag_messages,omitempty"`
	LinkAge      *float64   `json:"link_age_seconds,omitempty"` // since the last proof that the link is alive
	CaughtUp     *time.Time `json:"last_caught_up,omitempty"`
}

// LinkStanding is what is known at one time of a replication link, all its ends and channels taken together.
type LinkStanding struct {
	Link     string     `json:"link"` // <store>:<from>><to>
	Store    string     `json:"store"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	Declared bool       `json:"declared"` // in the configuration; else an agent reports it unasked
	State    LinkState  `json:"state"`
	Reason   string     `json:"reason,omitempty"` // why the state is unknown
	Since    *time.Time `json:"since,omitempty"`  // of the state
	// LagLower and LagUpper enclose the lag now, in seconds. Upper is absent when nothing bounds it.
	LagLower *float64 `json:"lag_lower_seconds,omitempty"`
	LagUpper *float64 `json:"lag_upper_seconds,omitempty"`
	// CompleteTo: all that the source committed before it is proven to be at the target. What came after it would be
	// lost with the source. Absent: nothing is proven.
	CompleteTo *time.Time `json:"complete_to,omitempty"`
	// Exposure is how long ago that was when this was said, in seconds.
	Exposure *float64  `json:"exposure_seconds,omitempty"`
	RPO      float64   `json:"rpo_seconds,omitempty"` // the objective for the exposure; 0: none is set
	Ends     []LinkEnd `json:"ends,omitempty"`        // who said what last, by channel, end, writer and agent
	Sentence string    `json:"sentence"`
}

// LinkEnd is the last word of one agent about one end of a link.
type LinkEnd struct {
	Channel string    `json:"channel,omitempty"`
	End     string    `json:"end"`
	Writer  string    `json:"writer"` // the site whose agent looked
	State   LinkState `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
	Fresh   bool      `json:"fresh"` // false: too old to count
}

// Flows reports whether the link carries what is written.
func (s LinkState) Flows() bool {
	switch s {
	case LinkCaughtUp, LinkCatchingUp, LinkIdleOK, LinkDelayedByDesign:
		return true
	case LinkUnknown, LinkDown, LinkApplierStopped, LinkResyncing, LinkNoPrimary:
	}
	return false
}

// SplitLinkName is the inverse of LinkName; false when the name is none.
func SplitLinkName(name string) (store, from, to string, ok bool) {
	store, sites, found := strings.Cut(name, ":")
	from, to, both := strings.Cut(sites, ">")
	return store, from, to, found && both && store != "" && from != "" && to != "" && !strings.ContainsAny(to, ":>")
}
