package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// adoptable refuses an adoption that executors would not obey: of a name that none of them knows while they know others,
// or with an epoch that one of them has obeyed already. One that cannot be asked has no say.
func (s *Server) adoptable(ctx context.Context, clusterID string, epoch int64) error {
	own := s.ledger.Identity()
	cluster := own.ClusterID
	if clusterID != "" {
		cluster = clusterID
	}
	if epoch == 0 {
		epoch = own.Epoch + 1
	}
	var others []string
	known := false
	for _, a := range s.standings(ctx, cluster) {
		if a.err != nil {
			continue
		}
		if high := a.standing.Highest(cluster).Epoch; high >= epoch {
			return &core.Error{
				Code:    core.CodeInvalid,
				Message: fmt.Sprintf("%s has obeyed epoch %d of cluster %s, and would not obey epoch %d", a.target, high, cluster, epoch),
				Hint:    fmt.Sprintf("adopt with --epoch %d or higher", high+1),
			}
		}
		known = known || slices.Contains(a.standing.Obeys, cluster)
		others = append(others, a.standing.Obeys...)
	}
	if clusterID == "" || clusterID == own.ClusterID || known || len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return &core.Error{
		Code: core.CodeInvalid, Message: "no executor obeys cluster " + cluster,
		Hint: fmt.Sprintf("they obey %v: see evenkeel-server preflight", slices.Compact(others)),
	}
}
