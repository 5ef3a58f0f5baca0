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
	for i, cluster := range askAll(ctx, othersOf(c, self), clusterAt) {
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

// othersOf are where the replicas of the configuration are asked, in their order; empty for this one and where none is given.
func othersOf(c config.Config, self string) []string {
	urls := make([]string, len(c.Replicas))
	for i, r := range c.Replicas {
		if r.Name != self {
			urls[i] = r.URL
		}
	}
	return urls
}

// askAll asks all servers at once, within askOthersWithin; the answer is zero where no URL is given.
func askAll[T any](ctx context.Context, urls []string, ask func(ctx context.Context, url string) T) []T {
	ctx, cancel := context.WithTimeout(ctx, askOthersWithin)
	defer cancel()
	out := make([]T, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		if url != "" {
			all.Go(func() { out[i] = ask(ctx, url) })
		}
	}
	all.Wait()
	return out
}

// oldAfter is by how much the others may know a later word of a replica than its own directory does. That is written down
// every ten seconds; a disk may be slow at it.
const oldAfter = time.Minute

// mayGoOn refuses a directory that is older than what its replica told the others: one that was copied, or of a disk that
// was put back. Its replica would vote a second time on what it has forgotten, and what was decided could be undone. One that
// cannot ask the others goes on, as after the loss of power at all places.
func mayGoOn(ctx context.Context, c config.Config, self string, spoke time.Time) error {
	if spoke.IsZero() {
		return nil
	}
	heard := func(ctx context.Context, url string) time.Time { return heardAt(ctx, url, self) }
	for i, at := range askAll(ctx, othersOf(c, self), heard) {
		if at.Sub(spoke) <= oldAfter {
			continue
		}
		return &core.Error{
			Code: core.CodeConflict,
			Message: fmt.Sprintf("the ledger here is of %s, and replica %s heard from %s at %s: this directory is an older copy, or its disk was put back",
				spoke.Format(time.RFC3339), c.Replicas[i].Name, self, at.Format(time.RFC3339)),
			Hint: fmt.Sprintf("start it with the newest directory; when that is lost: 'evenkeel-server replica replace %s --out FILE --server %s', an empty data directory, and serve --join FILE",
				self, c.Replicas[i].URL),
		}
	}
	return nil
}

// heardAt is when a replica last spoke, by its own clock, as another one knows it; zero when that does not say.
func heardAt(ctx context.Context, url, replica string) time.Time {
	var all struct {
		Members []core.Member `json:"members"`
	}
	if !askJSON(ctx, strings.TrimSuffix(url, "/")+"/api/v1/replicas", &all) {
		return time.Time{}
	}
	for _, m := range all.Members {
		if m.Name == replica && m.View != nil {
			return m.View.At
		}
	}
	return time.Time{}
}

// clusterAt is the cluster for which a server answers; empty when it does not.
func clusterAt(ctx context.Context, url string) string {
	var status struct {
		ClusterID string `json:"cluster_id"`
	}
	if !askJSON(ctx, strings.TrimSuffix(url, "/")+"/api/v1/status", &status) {
		return ""
	}
	return status.ClusterID
}

// askJSON reads what a server answers; false when it does not, or not so.
func askJSON(ctx context.Context, url string, into any) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	return res.StatusCode == http.StatusOK && json.NewDecoder(io.LimitReader(res.Body, maxStatus)).Decode(into) == nil
}
