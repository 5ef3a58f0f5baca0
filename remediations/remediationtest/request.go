package remediationtest

import (
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// Drain is a valid command: bring the subject down to weight percent, decided now, good for two minutes, with the
// token (cluster, 1, seq). The id is derived from the arguments.
func Drain(cluster, site, service string, seq int64, weight int) remediations.Request {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return remediations.Request{
		ID:   "act_" + site + "_" + service + "_" + itoa(seq),
		Type: remediations.TypeDrain,
		At:   now,
		Data: remediations.Data{
			ActionID: "act_" + itoa(seq), EpisodeID: "ep_test", Site: site, Service: service,
			DesiredState: remediations.DesiredDrained, Scope: []string{"reads"},
			Seq: seq, Fencing: remediations.Fencing{ClusterID: cluster, Epoch: 1, Seq: seq},
			Mode: "automatic", NotBefore: now, NotAfter: now.Add(2 * time.Minute), ExpiresAt: now.Add(4 * time.Hour),
			Step:   remediations.Step{N: 1, Of: 1, Weight: weight},
			Reason: remediations.Reason{Summary: "contract test"},
		},
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
