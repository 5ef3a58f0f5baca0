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
	"slices"
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

// remote is VictoriaMetrics in other processes: a single node, which takes samples and questions, or a cluster,
// which takes them at two addresses.
type remote struct {
	writes  node
	reads   node
	client  *http.Client
	proxy   *httputil.ReverseProxy
	timeout time.Duration
}

// node is one server of the store.
type node struct {
	name string   // for messages
	base *url.URL // with userinfo, if any; never logged
	api  string   // path of the Prometheus API below base
}

var _ backend = (*remote)(nil)

func openRemote(o Options) (*remote, error) {
	writes, reads, err := nodes(o)
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
		writes: writes, reads: reads, timeout: o.QueryTimeout,
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
			promError(w, http.StatusServiceUnavailable, silent(reads, err))
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

func (n node) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	u := n.base.JoinPath(path)
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	n.sign(req)
	return req, nil
}

// sign gives the user and the password of the address to a request.
func (n node) sign(req *http.Request) {
	if user := n.base.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
}

func silent(n node, err error) error {
	return unavailable(n.name+" does not answer", "look at the node and the way to it", err)
}

// append speaks Prometheus remote write 1.
func (r *remote) append(ctx context.Context, samples []core.Sample) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	wr := &prompb.WriteRequest{Timeseries: series(samples)}
	req, err := r.writes.request(ctx, http.MethodPost, r.writes.api+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, wr.MarshalProtobuf(nil))))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := r.client.Do(req)
	if err != nil {
		return silent(r.writes, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusBadRequest:
		return &core.Error{
			Code: core.CodeInvalid, Message: r.writes.name + " refuses the samples", Hint: "look at the node's log",
			Err: fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text)),
		}
	default:
		return unavailable(r.writes.name+" takes no samples", "look at the node's log",
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

// ask puts a question whose answer is judged by: it must be complete, or be no answer.
func (r *remote) ask(ctx context.Context, path, want string, args url.Values) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout+5*time.Second)
	defer cancel()
	// vmselect is told to refuse: what it says of completeness itself is not to be relied on. v1.100 calls an
	// answer to a query with @ complete whatever is missing.
	args.Set("deny_partial_response", "1")
	args.Set("timeout", r.timeout.String())
	status, a, err := r.post(ctx, path, args)
	if err != nil {
		return nil, err
	}
	switch {
	case status == http.StatusBadRequest || (status == http.StatusUnprocessableEntity && a.ErrorType == "400"):
		return nil, invalidQuery(fmt.Errorf("%s says: %s", r.reads.name, a.Error))
	case status == http.StatusServiceUnavailable && a.Status == "error" && r.cluster():
		return nil, r.incomplete(ctx, a.Error)
	case status != http.StatusOK || (a.Status != "success" && a.Status != ""):
		return nil, unavailable(r.reads.name+" cannot answer", "look at the node's log", fmt.Errorf("status %d: %s", status, a.Error))
	case a.Status == "":
		return nil, unavailable(r.reads.name+"'s answer is not understood", "is the URL one of VictoriaMetrics?", nil)
	case a.IsPartial:
		return nil, partial("it says so")
	case a.Data.ResultType != want:
		return nil, invalidQuery(errRangeSelector)
	}
	return a, nil
}

// post asks and reads the answer, whatever its status. One that is no JSON is empty.
func (r *remote) post(ctx context.Context, path string, args url.Values) (int, *answer, error) {
	args.Set("nocache", "1")
	args.Set("latency_offset", "1ms")
	req, err := r.reads.request(ctx, http.MethodPost, r.reads.api+path, strings.NewReader(args.Encode()))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, silent(r.reads, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return 0, nil, unavailable(r.reads.name+"'s answer broke off", "try again", err)
	}
	if len(body) > maxAnswerBytes {
		return 0, nil, unavailable(r.reads.name+"'s answer is larger than 64 MiB", "ask for less", nil)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return resp.StatusCode, &answer{}, nil //nolint:nilerr // a proxy's page of an error is an answer too
	}
	return resp.StatusCode, &a, nil
}

func (r *remote) query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if step != 0 {
		return r.queryOf(ctx, expr, at, step)
	}
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

// queryOf is the point at a time of a range. The range goes on for two steps: in one that ends before now by the node's
// own clock, which may be slow, VictoriaMetrics repeats an older point in the place of the last ones.
func (r *remote) queryOf(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	past, err := r.queryRange(ctx, expr, at.Add(-step), at.Add(2*step), step)
	if err != nil {
		return nil, err
	}
	out := make([]core.SeriesValue, 0, len(past))
	for _, s := range past {
		if i := slices.IndexFunc(s.Times, func(t time.Time) bool { return t.UnixMilli() == at.UnixMilli() }); i >= 0 {
			out = append(out, core.SeriesValue{Labels: s.Labels, Value: s.Values[i], At: s.Times[i]})
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

// healthy asks a node whether it runs.
func (r *remote) healthy(ctx context.Context, n node) error {
	req, err := n.request(ctx, http.MethodGet, "/health", nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return silent(n, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return unavailable(n.name+" is not healthy", "look at the node's log", fmt.Errorf("status %d", resp.StatusCode))
	}
	return nil
}

// serve passes one allowed question on. The form was read already: it goes on as the body. People may see an
// answer that is partial: it says so.
func (r *remote) serve(w http.ResponseWriter, req *http.Request, _ route) {
	r.proxy.ServeHTTP(w, req)
}

func (r *remote) rewrite(p *httputil.ProxyRequest) {
	args := p.In.Form
	if !args.Has("latency_offset") {
		args.Set("latency_offset", "1ms")
	}
	out := p.Out
	out.URL = r.reads.base.JoinPath(r.reads.api, strings.TrimPrefix(p.In.URL.Path, "/prometheus"))
	out.URL.User = nil
	out.Host = ""
	body := args.Encode()
	out.Method, out.Body, out.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(body)), int64(len(body))
	out.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	r.reads.sign(out)
}
