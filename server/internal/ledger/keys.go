package ledger

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// The keys. One record, one key; the indexes hold the id of what they point at.
const (
	keyRoot     = "/evenkeel/v1/"
	keyIdentity = keyRoot + "meta/identity"
	keyFence    = keyRoot + "meta/fence"
	keyTopology = keyRoot + "meta/topology"
	keyBrake    = keyRoot + "brake/all"

	prefixEpisode  = keyRoot + "episode/"
	prefixDecision = keyRoot + "decision/"
	prefixAction   = keyRoot + "action/"
	prefixIntent   = keyRoot + "intent/"
	prefixRouting  = keyRoot + "routing/"
	prefixNotice   = keyRoot + "notice/"
	prefixLine     = keyRoot + "line/"
	prefixToken    = keyRoot + "token/"
	prefixChange   = keyRoot + "change/"   // <site>/<id>
	prefixTold     = keyRoot + "told/"     // <site>/<id>
	prefixFeedback = keyRoot + "feedback/" // <alarm or episode>/<person>/<n>

	// What is only true now: no watcher of the records is woken by it.
	liveRoot        = "/evenkeel/live/"
	liveLead        = liveRoot + "lead"
	liveObservation = liveRoot + "observation/" // <replica>
	liveOrder       = liveRoot + "order/"       // <id>, until it is answered
	liveAnswer      = liveRoot + "answer/"      // <id>

	prefixAdoption = keyRoot + "adoption/" // <epoch>

	prefixOpen        = keyRoot + "open/"         // <episode>, while it is open
	prefixDecisionsOf = keyRoot + "decisions-of/" // <episode>/<n>/<decision>
	prefixNoticesOf   = keyRoot + "notices-of/"   // <episode>/<n>/<notice>
)

// part makes an id safe to stand between two slashes.
func part(id string) string { return url.PathEscape(id) }

func routingKey(s core.Subject) string {
	service := s.Service
	if s.WholeSite() {
		service = core.AllServices
	}
	key := prefixRouting + part(s.Site) + "/" + part(service)
	if s.Unit != "" {
		key += "/" + part(s.Unit)
	}
	return key
}

// indexKey points from an episode to its n-th record with the id.
func indexKey(prefix, episode string, n int, id string) string {
	return fmt.Sprintf("%s%s/%010d/%s", prefix, part(episode), n, part(id))
}

// lineKey is the key of the n-th line of the commit with the revision. The order of the keys is the order in
// which things happened, whatever the clocks said.
//
// Other writers may use revisions up before the commit, so the one in the key is a lower bound of the one the line
// gets. Only a leader writes lines, one commit at a time, and it begins with reading what the last one wrote: a
// later line always has the higher bound. See linesFrom.
func lineKey(rev int64, n int) string {
	return fmt.Sprintf("%s%016x/%06d", prefixLine, rev, n)
}

// parseLineKey is the inverse of lineKey.
func parseLineKey(key string) (rev int64, n int, err error) {
	a, b, ok := strings.Cut(strings.TrimPrefix(key, prefixLine), "/")
	if ok {
		if rev, err = strconv.ParseInt(a, 16, 64); err == nil {
			n, err = strconv.Atoi(b)
		}
	}
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("line key %q is not <revision>/<n>", key)
	}
	return rev, n, nil
}
