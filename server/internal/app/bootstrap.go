package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	askOthersWithin = 2 * time.Second
	maxStatus       = 1 << 20 // bytes
)

// mayBegin refuses to begin a ledger while another replica of the configuration answers for one: the new one would be
// a second cluster, of which no agent and no executor knows.
func mayBegin(ctx context.Context, c config.Config, self string) error {
	ctx, cancel := context.WithTimeout(ctx, askOthersWithin)
	defer cancel()
	clusters := make([]string, len(c.Replicas))
	var all sync.WaitGroup
	for i, r := range c.Replicas {
		if r.Name != self && r.URL != "" {
			all.Go(func() { clusters[i] = clusterAt(ctx, r.URL) })
		}
	}
	all.Wait()
	for i, cluster := range clusters {
		if cluster == "" {
			continue
		}
		r := c.Replicas[i]
		return &core.Error{
			Code:    core.CodeConflict,
			Message: fmt.Sprintf("replica %s answers at %s with the ledger of cluster %s, and a second one is not begun beside it", r.Name, r.URL, cluster),
			Hint: fmt.Sprintf("join it: 'evenkeel-server replica replace %s --out FILE --server %s', then serve --join FILE; to begin anew, stop the other replicas first",
				self, r.URL),
		}
	}
	return nil
}

// clusterAt is the cluster for which a server answers; empty when it does not.
func clusterAt(ctx context.Context, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/api/v1/status", nil)
	if err != nil {
		return ""
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	res, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var status struct {
		ClusterID string `json:"cluster_id"`
	}
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, maxStatus)).Decode(&status) != nil {
		return ""
	}
	return status.ClusterID
}
