package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Client asks a server over HTTP, each request on a connection of its own.
type Client struct {
	URL  string // http://host:port
	Data string // the server's data folder, for the admin token; empty where no order is given
	http *http.Client
}

// NewClient is a client of the server at addr (host:port).
func NewClient(addr, data string) *Client {
	return &Client{URL: "http://" + addr, Data: data, http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

// StatusError is an answer that is not 2xx.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("answered %d: %.500s", e.Status, e.Body) }

// Get decodes the JSON at a path such as /api/v1/status; out may be nil.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, "", out)
}

func (c *Client) call(ctx context.Context, method, path string, in any, token string, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{resp.StatusCode, string(raw)})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, format string, args ...any) (T, error) {
	var out T
	return out, c.Get(ctx, "/api/v1"+fmt.Sprintf(format, args...), &out)
}

// Ready is nil when the server can record, store and act.
func (c *Client) Ready(ctx context.Context) error { return c.Get(ctx, "/readyz", nil) }

// Status of the server.
func (c *Client) Status(ctx context.Context) (Status, error) { return get[Status](ctx, c, "/status") }

// Conditions are the newest observation.
func (c *Client) Conditions(ctx context.Context) (Conditions, error) {
	return get[Conditions](ctx, c, "/conditions")
}

// Sites with what was commanded for them.
func (c *Client) Sites(ctx context.Context) ([]SiteRouting, error) {
	return get[[]SiteRouting](ctx, c, "/sites")
}

// Episodes are the newest ones, open and closed.
func (c *Client) Episodes(ctx context.Context) ([]Episode, error) {
	return get[[]Episode](ctx, c, "/episodes?limit=500")
}

// Episode by its id.
func (c *Client) Episode(ctx context.Context, id string) (Episode, error) {
	return get[Episode](ctx, c, "/episodes/%s", id)
}

// Decisions of an episode.
func (c *Client) Decisions(ctx context.Context, episode string) ([]Decision, error) {
	return get[[]Decision](ctx, c, "/episodes/%s/decisions", episode)
}

// Decision by its id.
func (c *Client) Decision(ctx context.Context, id string) (Decision, error) {
	return get[Decision](ctx, c, "/decisions/%s", id)
}

// Notices of an episode.
func (c *Client) Notices(ctx context.Context, episode string) ([]Notice, error) {
	return get[[]Notice](ctx, c, "/episodes/%s/notices", episode)
}

// Actions are the newest ones.
func (c *Client) Actions(ctx context.Context) ([]Action, error) {
	return get[[]Action](ctx, c, "/actions?limit=500")
}

// Action by its id.
func (c *Client) Action(ctx context.Context, id string) (Action, error) {
	return get[Action](ctx, c, "/actions/%s", id)
}

// Timeline is the newest part of the story.
func (c *Client) Timeline(ctx context.Context) ([]Line, error) {
	return get[[]Line](ctx, c, "/timeline?limit=500")
}

// Order gives an order with the admin token of the data folder: kind, subject, reason and what else it needs.
func (c *Client) Order(ctx context.Context, order map[string]any) (Reply, error) {
	raw, err := os.ReadFile(filepath.Join(c.Data, "admin.token"))
	if err != nil {
		return Reply{}, fmt.Errorf("read the admin token: %w", err)
	}
	var r Reply
	return r, c.call(ctx, http.MethodPost, "/api/v1/commands", order, strings.TrimSpace(string(raw)), &r)
}

// Sample is one series of an instant query.
type Sample struct {
	Labels map[string]string
	At     time.Time
	Value  float64
}

// Query asks the Prometheus API for the present value of an expression.
func (c *Client) Query(ctx context.Context, expr string) ([]Sample, error) {
	var out struct {
		Status string `json:"status"`
		Data   struct {
			Result []struct {
				Metric map[string]string  `json:"metric"`
				Value  [2]json.RawMessage `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := c.Get(ctx, "/prometheus/api/v1/query?query="+url.QueryEscape(expr), &out); err != nil {
		return nil, err
	}
	if out.Status != "success" {
		return nil, fmt.Errorf("query %s: status %q", expr, out.Status)
	}
	var list []Sample
	for _, r := range out.Data.Result {
		var at float64
		var text string
		if err := errors.Join(json.Unmarshal(r.Value[0], &at), json.Unmarshal(r.Value[1], &text)); err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
		list = append(list, Sample{r.Metric, time.UnixMilli(int64(at * 1000)), v})
	}
	return list, nil
}

// Metric is the value of one series of /metrics, written as there: name{label="value",...}. Absent is an error.
func (c *Client) Metric(ctx context.Context, series string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for the metrics: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read or given up
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read the metrics: %w", err)
	}
	return 0, fmt.Errorf("/metrics has no %s", series)
}
