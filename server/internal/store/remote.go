package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"
	"github.com/golang/snappy"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// maxAnswerBytes bounds what a remote node may answer to one query.
	maxAnswerBytes = 64 << 20
	// readyTimeout bounds the health question.
	readyTimeout = 2 * time.Second
	writeTimeout = 30 * time.Second
)

// remote is a single-node VictoriaMetrics in another process.
type remote struct {
	base    *url.URL // with userinfo, if any; never logged
	client  *http.Client
	proxy   *httputil.ReverseProxy
	timeout time.Duration
}

var _ backend = (*remote)(nil)

func openRemote(o Options) (*remote, error) {
	base, err := remoteURL(o.URL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
	}
	r := &remote{
		base: base, timeout: o.QueryTimeout,
		client: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // credentials and samples go where the configuration says
			},
		},
	}
	r.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   r.rewrite,
		ErrorLog:  slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			promError(w, http.StatusServiceUnavailable, unavailable("the remote store does not answer", "look at the node", err))
		},
		ModifyResponse: func(resp *http.Response) error {
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					resp.Header.Del(name) // who may read from a browser is for the api to say
				}
			}
			return nil
		},
	}
	return r, nil
}

// close lets go of the connections.
func (r *remote) close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	u := r.base.JoinPath(path)
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if user := r.base.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	return req, nil
}

// append speaks Prometheus remote write 1.
func (r *remote) append(ctx context.Context, samples []core.Sample) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	wr := &prompb.WriteRequest{Timeseries: series(samples)}
	req, err := r.request(ctx, http.MethodPost, "/api/v1/write", bytes.NewReader(snappy.Encode(nil, wr.MarshalProtobuf(nil))))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := r.client.Do(req)
	if err != nil {
		return unavailable("the remote store does not answer", "look at the node and the way to it", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusBadRequest:
		return &core.Error{
			Code: core.CodeInvalid, Message: "the remote store refuses the samples", Hint: "look at the node's log",
			Err: fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text)),
		}
	default:
		return unavailable("the remote store takes no samples", "look at the node's log",
			fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text)))
	}
}

// series groups neighbours of the same series.
func series(samples []core.Sample) []prompb.TimeSeries {
	var out []prompb.TimeSeries
	for i := range samples {
		x := &samples[i]
		if i == 0 || !sameSeries(&samples[i-1], x) {
			labels := make([]prompb.Label, 0, len(x.Labels)+1)
			labels = append(labels, prompb.Label{Name: "__name__", Value: x.Name})
			for _, l := range x.Labels {
				labels = append(labels, prompb.Label(l))
			}
			out = append(out, prompb.TimeSeries{Labels: labels})
		}
		ts := &out[len(out)-1]
		ts.Samples = append(ts.Samples, prompb.Sample{Value: x.Value, Timestamp: x.AtMS})
	}
	return out
}

// answer is what the Prometheus API says.
type answer struct {
	Status    string `json:"status"`
	IsPartial bool   `json:"isPartial"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string `json:"metric"`
			Value  point             `json:"value"`
			Values []point           `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// point is [seconds, "value"].
type point struct {
	at    time.Time
	value float64
}

// UnmarshalJSON reads the pair.
func (p *point) UnmarshalJSON(b []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	var at float64
	if err := json.Unmarshal(pair[0], &at); err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	p.at, p.value = time.UnixMilli(int64(at*1000+0.5)), v
	return nil
}

func (r *remote) ask(ctx context.Context, path, want string, args url.Values) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout+5*time.Second)
	defer cancel()
	args.Set("nocache", "1")
	args.Set("deny_partial_response", "1")
	args.Set("latency_offset", "1ms")
	args.Set("timeout", r.timeout.String())
	req, err := r.request(ctx, http.MethodPost, path, strings.NewReader(args.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, unavailable("the remote store does not answer", "look at the node and the way to it", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, unavailable("the remote store's answer broke off", "try again", err)
	}
	if len(body) > maxAnswerBytes {
		return nil, unavailable("the remote store's answer is larger than 64 MiB", "ask for less", nil)
	}
	var a answer
	jsonErr := json.Unmarshal(body, &a)
	switch {
	case resp.StatusCode == http.StatusBadRequest || (resp.StatusCode == http.StatusUnprocessableEntity && a.ErrorType == "400"):
		return nil, invalidQuery(fmt.Errorf("the remote store says: %s", a.Error))
	case resp.StatusCode != http.StatusOK || (jsonErr == nil && a.Status != "success"):
		return nil, unavailable("the remote store cannot answer", "look at the node's log", fmt.Errorf("status %d: %s", resp.StatusCode, a.Error))
	case jsonErr == nil && a.IsPartial:
		return nil, unavailable("the remote store's answer is partial", "see which storage nodes are missing", nil)
	case jsonErr == nil && a.Data.ResultType != want:
		return nil, invalidQuery(errRangeSelector)
	case jsonErr != nil:
		return nil, unavailable("the remote store's answer is not understood", "is the URL a VictoriaMetrics node?", jsonErr)
	}
	return &a, nil
}

func (r *remote) query(ctx context.Context, expr string, at time.Time) ([]core.SeriesValue, error) {
	a, err := r.ask(ctx, "/api/v1/query", "vector", url.Values{"query": {expr}, "time": {seconds(at)}})
	if err != nil {
		return nil, err
	}
	out := make([]core.SeriesValue, 0, len(a.Data.Result))
	for _, s := range a.Data.Result {
		if !unusable(s.Value.value) {
			out = append(out, core.SeriesValue{Labels: s.Metric, Value: s.Value.value, At: s.Value.at})
		}
	}
	return out, nil
}

func (r *remote) queryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	a, err := r.ask(ctx, "/api/v1/query_range", "matrix", url.Values{
		"query": {expr}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	})
	if err != nil {
		return nil, err
	}
	out := make([]core.SeriesRange, 0, len(a.Data.Result))
	for _, s := range a.Data.Result {
		x := core.SeriesRange{Labels: s.Metric}
		for _, p := range s.Values {
			if !unusable(p.value) {
				x.Times, x.Values = append(x.Times, p.at), append(x.Values, p.value)
			}
		}
		if len(x.Values) > 0 {
			out = append(out, x)
		}
	}
	return out, nil
}

// seconds is a time as the Prometheus API takes it.
func seconds(t time.Time) string {
	ms := t.UnixMilli()
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}

func (r *remote) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	req, err := r.request(ctx, http.MethodGet, "/health", nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return unavailable("the remote store does not answer", "look at the node and the way to it", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return unavailable("the remote store is not healthy", "look at the node's log", fmt.Errorf("status %d", resp.StatusCode))
	}
	return nil
}

// serve passes one allowed question on. The form was read already: it goes on as the body.
func (r *remote) serve(w http.ResponseWriter, req *http.Request, _ route) {
	r.proxy.ServeHTTP(w, req)
}

func (r *remote) rewrite(p *httputil.ProxyRequest) {
	args := p.In.Form
	args.Set("deny_partial_response", "1")
	if !args.Has("latency_offset") {
		args.Set("latency_offset", "1ms")
	}
	out := p.Out
	path := strings.TrimPrefix(p.In.URL.Path, "/prometheus")
	out.URL = r.base.JoinPath(path)
	out.URL.User = nil
	out.Host = ""
	body := args.Encode()
	out.Method, out.Body, out.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(body)), int64(len(body))
	out.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if user := r.base.User; user != nil {
		password, _ := user.Password()
		out.SetBasicAuth(user.Username(), password)
	}
}
