package core

import (
	"fmt"
	"slices"
	"time"
)

// ReplicaView is what one replica says of itself and of every subject: its observation as the other replicas read
// it, and its vote.
type ReplicaView struct {
	Replica  string    `json:"replica"`
	At       time.Time `json:"at"`       // by its own clock
	Version  string    `json:"version"`  // of the program
	Revision int64     `json:"topology"` // of the topology it judges by
	// Unfit is why its vote does not count, in its own words: a broken store, say. Doubt about itself is Tilt.
	Unfit      string        `json:"unfit,omitempty"`
	Tilt       Tilt          `json:"tilt,omitzero"`
	FreshSites int           `json:"fresh_sites"` // sites and witnesses with fresh inputs at this replica
	Subjects   []SubjectView `json:"subjects"`    // sorted by subject; only what is not healthy
	// Heard is when this process last heard from the replica, by the clock of this process. It is not published.
	Heard time.Time `json:"heard,omitzero"`
}

// EnoughSites is of how many sites and witnesses the inputs must be fresh for a replica's word to count.
const EnoughSites = 2

// Doubt is why the replica's word does not count, however fresh it is, and why it had better not lead; empty when neither
// holds.
func (v ReplicaView) Doubt() string {
	switch {
	case v.Unfit != "":
		return v.Unfit
	case v.Tilt.On:
		return "it doubts itself: " + v.Tilt.Reason
	case v.FreshSites < EnoughSites:
		return fmt.Sprintf("fresh inputs from %d sites, %d are needed", v.FreshSites, EnoughSites)
	}
	return ""
}

// SubjectView is one subject as one replica judges it.
type SubjectView struct {
	Subject      Subject    `json:"subject"`
	Condition    Condition  `json:"condition"`
	Kind         string     `json:"kind,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`
}

// Subject is what the replica says of the subject; healthy is not listed, so absent is Healthy only while the replica's
// word counts at all.
func (v ReplicaView) Subject(s Subject) (SubjectView, bool) {
	i := slices.IndexFunc(v.Subjects, func(x SubjectView) bool { return x.Subject == s })
	if i < 0 {
		return SubjectView{}, false
	}
	return v.Subjects[i], true
}

// ViewOf is the observation as it is published.
func ViewOf(o Observation, version, unfit string, revision int64) ReplicaView {
	v := ReplicaView{
		Replica: o.Replica, At: o.At, Version: version, Revision: revision, Unfit: unfit, Tilt: o.Tilt,
		FreshSites: o.FreshSites, Subjects: []SubjectView{},
	}
	for _, a := range o.Assessments {
		if a.Condition != Healthy {
			v.Subjects = append(v.Subjects, SubjectView{
				Subject: a.Subject, Condition: a.Condition, Kind: a.Kind, FailingSince: a.FailingSince,
			})
		}
	}
	return v
}

// Leadership is who decides and acts, as this replica knows it.
type Leadership struct {
	Self   string    `json:"self"`
	Leader string    `json:"leader,omitempty"` // empty: nobody, or nobody known
	Leads  bool      `json:"leads"`            // this replica does
	Since  time.Time `json:"since,omitzero"`   // since when that stands
	// Quorum says whether this replica could write to the ledger a moment ago; without it nothing acts.
	Quorum bool   `json:"quorum"`
	Reason string `json:"reason,omitempty"` // why there is no quorum or no leader
}

// Member is one member of the ledger's cluster, joined or configured.
type Member struct {
	Name string `json:"name"`
	At   string `json:"at,omitempty"`
	URL  string `json:"url,omitempty"`
	Peer string `json:"peer,omitempty"` // where the other replicas reach it; empty: it has not joined
	// State is voter, learner (joined, not yet caught up), absent (configured, not joined) or stranger (joined, not
	// configured).
	State string       `json:"state"`
	View  *ReplicaView `json:"view,omitempty"` // its last word; nil: never heard
}

// States of a member.
const (
	MemberVoter    = "voter"
	MemberLearner  = "learner"
	MemberAbsent   = "absent"
	MemberStranger = "stranger"
)

// Order is a command that a replica which does not lead hands to the one that does.
type Order struct {
	ID      string    `json:"id"`
	Command Command   `json:"command"`
	From    string    `json:"from"`  // the replica it was given to
	Given   time.Time `json:"given"` // by the clock of that replica
	// After is a time after which it was given, by the clock of this process; zero when none is known. It is not handed over.
	After time.Time `json:"-"`
}

// OrderAnswer is the reply to an order; it is written in one transaction with what follows from the order.
type OrderAnswer struct {
	OrderID string `json:"order_id"`
	Reply   Reply  `json:"reply"`
}

// Adoption is an operator's word that this ledger speaks for a cluster from now on, with a higher epoch.
type Adoption struct {
	ClusterID string    `json:"cluster_id"` // the id from now on
	Epoch     int64     `json:"epoch"`      // the epoch from now on
	From      Identity  `json:"from"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	Signature string    `json:"signature,omitempty"` // over all of it, by the token that gave the order; see ledger
}

// BreakGlass is a command that a person gave to an executor directly, past the servers, as recorded on that machine.
type BreakGlass struct {
	ID      string       `json:"id"`
	Subject Subject      `json:"subject"`
	Target  string       `json:"target"`
	Weight  int          `json:"weight"` // percent of normal
	State   RoutingState `json:"state"`  // drained, restoring or active
	// ClusterID, Epoch and Seq are the fencing token it carried.
	ClusterID string    `json:"cluster_id"`
	Epoch     int64     `json:"epoch"`
	Seq       int64     `json:"seq"`
	Result    string    `json:"result"` // done, accepted, refused, unknown or failed
	Detail    string    `json:"detail,omitempty"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	Overrides []string  `json:"overrides"` // names of the guards that it went past
}

// Preflight is what became of asking one executor for its fencing tokens.
type Preflight struct {
	Target string `json:"target"`
	// Result is ok, unknown_cluster, epoch_behind, seq_behind or cannot_tell; all but ok mean that a command of this
	// ledger would be refused there, or that nobody knows.
	Result   string `json:"result"`
	Sentence string `json:"sentence"`
	Remedy   string `json:"remedy,omitempty"`
	// ClusterID, Epoch and Seq are the highest token the executor holds of our cluster, or of the one it obeys.
	ClusterID string `json:"cluster_id,omitempty"`
	Epoch     int64  `json:"epoch,omitempty"`
	Seq       int64  `json:"seq,omitempty"`
}
