package e2e

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// isRead checks that the page and the records are served, as they must be when nothing else can be done.
func (c *control) isRead(r *replica) {
	c.t.Helper()
	for _, path := range []string{"timeline", "episodes", "sites", "conditions", "actions", "replicas"} {
		if err := r.Get(c.t.Context(), "/api/v1/"+path, nil); err != nil {
			c.t.Errorf("not read without a quorum: %v", err)
		}
	}
	if err := r.Ready(c.t.Context()); err != nil {
		c.t.Errorf("not ready to be read: %v", err)
	}
	req := must[*http.Request](c.t)(http.NewRequestWithContext(c.t.Context(), http.MethodGet, r.URL+"/", nil))
	resp := must[*http.Response](c.t)(r.http.Do(req))
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || err != nil || !strings.Contains(strings.ToLower(string(page)), "<!doctype html") {
		c.t.Errorf("the page of %s: %d, %v, %.100q", r.name, resp.StatusCode, err, page)
	}
}

// allApart: when no site reaches another, each replica says that it has no quorum, is read, takes no order and does nothing,
// though to each of them the others look dead. Healed, they go on, and nothing of what they saw alone is acted on.
func (c *control) allApart() {
	known := len(c.exec.Calls())
	began := time.Now()
	for i, a := range c.nodes {
		for _, b := range c.nodes[i+1:] {
			cut{a.place, b.place, bothWays}.do(c)
		}
	}
	for _, r := range c.nodes {
		c.saysNoQuorum(r)
	}
	time.Sleep(time.Until(began.Add(outlasts))) // how long it lasts is the thing under test
	for _, r := range c.nodes {
		c.saysNoQuorum(r)
		c.isRead(r)
		c.refusesOrders(r)
	}
	c.heal()
	c.leader(time.Minute)
	c.calm()
	if got := c.exec.Calls()[known:]; len(got) > 0 {
		c.t.Errorf("commands without a quorum: %s", brief(got))
	}
	c.moveThereAndBack(c.leader(time.Minute))
}

// noQuorum: two replicas die, and a person commands the executor past the third one. That is put on record when the
// others are back.
func (c *control) noQuorum() {
	lone := c.nodes[0]
	for _, r := range c.others(lone) {
		r.process.Kill()
		r.process = nil
	}
	c.saysNoQuorum(lone)
	calls := len(c.exec.Calls())
	c.isRead(lone)
	c.refusesOrders(lone)
	if got := len(c.exec.Calls()); got != calls {
		c.t.Errorf("%d commands without a quorum", got-calls)
	}
	out, err := c.n.Run(c.t.Context(), lone.place, c.p.Server, "break-glass", "drain", "ams", "checkout", "--config", c.config(), "--data", lone.Data,
		"--cluster-id", c.cluster(lone), "--by", "ann", "--reason", "no quorum", "--yes")
	if err != nil || c.exec.Weights()["ams"] != 0 {
		c.t.Fatalf("past the servers: %v, %s, weights %v", err, out, c.exec.Weights())
	}
	for _, r := range c.others(lone) {
		c.startServer(r)
	}
	c.leader(time.Minute)
	c.until(time.Minute, "the record is taken", func() error {
		_, err := c.run(lone, "reconcile")
		return err
	})
	c.until(time.Minute, "the drain is on record", func() error {
		list, err := c.nodes[1].Actions(c.t.Context())
		if err == nil && !slices.ContainsFunc(list, func(a Action) bool { return a.Plan == "break-glass" && a.State == "succeeded" }) {
			err = errors.New(brief(list))
		}
		return err
	})
	c.restore("ams")
}

func (c *control) cluster(r *replica) string {
	return must[Status](c.t)(r.Status(c.t.Context())).ClusterID
}
