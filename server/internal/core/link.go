package core

import "time"

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
