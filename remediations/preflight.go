package remediations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// TypePreflight is the type of a question that changes nothing: which tokens does the executor hold?
const TypePreflight = "executor.preflight"

// preflightFor is how long a question may be answered.
const preflightFor = 2 * time.Minute

// Preflighter is a [Target] that can be asked for the tokens its executor holds. An executor that does not know the
// question answers with an error, which says nothing about what it would do with a command.
type Preflighter interface {
	Preflight(ctx context.Context, clusterID string) (Standing, error)
}

// Standing is what an executor says of the tokens it holds.
type Standing struct {
	// Obeys are the clusters it obeys; empty when it obeys whoever comes first, and nobody has come yet.
	Obeys    []string `json:"obeys"`
	Subjects []Held   `json:"subjects"`
	// Epochs are the highest epochs it has obeyed, by cluster.
	Epochs map[string]int64 `json:"epochs"`
}

// Held is the newest command that an executor has obeyed about one subject.
type Held struct {
	Site         string  `json:"site"`
	Service      string  `json:"service"`
	Unit         string  `json:"unit,omitempty"`
	Fencing      Fencing `json:"fencing"`
	DesiredState string  `json:"desired_state"`
	Weight       int     `json:"weight"`
}

// Highest is the highest token held of a cluster; its Epoch is 0 when none is held.
func (s Standing) Highest(clusterID string) Fencing {
	out := Fencing{ClusterID: clusterID, Epoch: s.Epochs[clusterID]}
	for _, h := range s.Subjects {
		if h.Fencing.ClusterID == clusterID && h.Fencing.Compare(out) > 0 {
			out = h.Fencing
		}
	}
	return out
}

// Verdicts on a standing.
const (
	StandingOK             = "ok"
	StandingUnknownCluster = "unknown_cluster" // the executor obeys others
	StandingEpochBehind    = "epoch_behind"    // it has obeyed a later incarnation of our ledger
	StandingSeqBehind      = "seq_behind"      // it has obeyed what our ledger does not know: an older copy was restored
)

// Judge says whether a ledger whose next command carries a token above next would be obeyed, in a word and a sentence;
// remedy is what to do when not.
func (s Standing) Judge(next Fencing) (verdict, sentence, remedy string) {
	high := s.Highest(next.ClusterID)
	switch {
	case len(s.Obeys) > 0 && !slices.Contains(s.Obeys, next.ClusterID):
		other := s.Obeys[0]
		for _, o := range s.Obeys {
			if s.Epochs[o] > s.Epochs[other] {
				other = o
			}
		}
		return StandingUnknownCluster, fmt.Sprintf("it obeys cluster %s and not %s", other, next.ClusterID),
			fmt.Sprintf("if that ledger is lost for good, adopt its name: --cluster-id %s --epoch %d", other, s.Epochs[other]+1)
	case high.Epoch > next.Epoch:
		return StandingEpochBehind, fmt.Sprintf("it has obeyed epoch %d, ours is %d", high.Epoch, next.Epoch),
			fmt.Sprintf("adopt with a higher one: --epoch %d", high.Epoch+1)
	case high.Epoch == next.Epoch && high.Seq > next.Seq:
		return StandingSeqBehind, fmt.Sprintf("it has obeyed seq %d of epoch %d, our ledger ends at %d", high.Seq, high.Epoch, next.Seq),
			fmt.Sprintf("adopt, so that our word is the newer one: --epoch %d", high.Epoch+1)
	}
	return StandingOK, "it would obey", ""
}

// Next is the token with which a person commands an executor past the ledger: the next one after what it holds. That is
// safe, since the ledger's next command carries a higher one: its revision is above the highest seq it ever sent, and
// putting the person's command on record raises it once more.
//
// The error says what is missing when the executor has obeyed nobody yet, or several clusters and none is named.
func (s Standing) Next(clusterID string) (Fencing, error) {
	if clusterID == "" {
		known := slices.Clone(s.Obeys)
		for c := range s.Epochs {
			if !slices.Contains(known, c) {
				known = append(known, c)
			}
		}
		if len(known) != 1 {
			slices.Sort(known)
			return Fencing{}, fmt.Errorf("the executor knows %d clusters %v: name the one to command for", len(known), known)
		}
		clusterID = known[0]
	}
	if len(s.Obeys) > 0 && !slices.Contains(s.Obeys, clusterID) {
		return Fencing{}, fmt.Errorf("the executor does not obey cluster %s but %v", clusterID, s.Obeys)
	}
	next := s.Highest(clusterID)
	next.Epoch, next.Seq = max(next.Epoch, 1), next.Seq+1
	return next, nil
}

// Question is the body of a preflight.
type Question struct {
	ClusterID string    `json:"cluster_id"` // who asks
	NotAfter  time.Time `json:"not_after"`
}

type question struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Question  `json:"data"`
}

// PreflightBody is the question as it goes over the wire.
func PreflightBody(clusterID string, at time.Time) ([]byte, error) {
	if clusterID == "" {
		return nil, errors.New("a preflight names the cluster that asks")
	}
	b, err := json.Marshal(question{
		Type: TypePreflight, Timestamp: at.UTC(), Data: Question{ClusterID: clusterID, NotAfter: at.Add(preflightFor).UTC()},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the preflight: %w", err)
	}
	return b, nil
}

// ParsePreflight reads what PreflightBody wrote; ok is false for a message of another type. The signature must have been
// verified before.
func ParsePreflight(body []byte) (q Question, ok bool) {
	var m question
	if len(body) > MaxBody || json.Unmarshal(body, &m) != nil || m.Type != TypePreflight {
		return Question{}, false
	}
	return m.Data, true
}

// ParseStanding reads an executor's answer to a preflight.
func ParseStanding(body []byte) (Standing, error) {
	var a struct {
		Preflight *Standing `json:"preflight"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return Standing{}, fmt.Errorf("the answer is no standing: %w", err)
	}
	if a.Preflight == nil {
		return Standing{}, errors.New("the executor does not know the question: it is older, or not built on package receiver")
	}
	s := *a.Preflight
	for _, h := range s.Subjects {
		if h.Fencing.ClusterID == "" || h.Fencing.Epoch < 1 || h.Fencing.Seq < 1 || h.Site == "" {
			return Standing{}, errors.New("the answer holds a token without cluster, epoch, seq or site")
		}
	}
	for c, e := range s.Epochs {
		if c == "" || e < 1 {
			return Standing{}, errors.New("the answer holds an epoch below 1 or of no cluster")
		}
	}
	return s, nil
}
