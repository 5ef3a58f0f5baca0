package core

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// derive makes an identifier out of what it identifies: the same parts give the same id on every replica
// and after every crash.
func derive(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return prefix + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20])
}

// EpisodeID derives the id of an episode from its subject and the time of its first evidence.
func EpisodeID(s Subject, onset time.Time) string {
	return derive("ep_", s.Key(), strconv.FormatInt(onset.UnixMilli(), 10))
}

// DecisionID derives the id of the n-th decision of an episode.
func DecisionID(episodeID string, n int) string {
	return derive("dec_", episodeID, strconv.Itoa(n))
}

// ActionID derives the id of one execution of a plan.
func ActionID(episodeID, plan string, attempt int) string {
	return derive("act_", episodeID, plan, strconv.Itoa(attempt))
}

// WebhookID is the idempotency key of one step of an action; it is the same for all its retries.
func WebhookID(actionID string, step int) string {
	return actionID + "_" + strconv.Itoa(step)
}

// NoticeID derives the id of the n-th notice of an episode.
func NoticeID(episodeID string, n int) string {
	return derive("ntc_", episodeID, strconv.Itoa(n))
}

// clusterID is what the name of a cluster may look like: ours, and those of ledgers made by other means.
var clusterID = regexp.MustCompile(`^[a-zA-Z0-9_-]{3,64}$`)

// CheckClusterID reports a text that cannot be the name of a cluster.
func CheckClusterID(id string) error {
	if clusterID.MatchString(id) {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Message: strconv.Quote(id) + " is no cluster id",
		Hint: "one has 3 to 64 letters, digits, dashes and underscores: take it from evenkeel-server preflight",
	}
}
