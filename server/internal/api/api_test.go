package api

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

var when = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// full are records with every field set, and the same with as few as there can be.
func full() []core.Change {
	subject := core.Subject{Site: "fra", Service: "checkout", Unit: "u1"}
	evidence := []core.Evidence{{
		Class: core.ClassOutside, Subject: subject, Signal: core.SignalRefused, Source: "ams", Path: "wan", Onset: when,
		Last: when, Band: &core.Band{Value: 1}, Numbers: []core.Number{{Name: "n", Value: 1, Unit: "s"}}, Sentence: "x",
	}}
	attempts := []core.Attempt{{N: 1, At: when, LatencyMS: 3, Status: 200, Result: "done", Detail: "ok"}}
	return []core.Change{
		{Episode: &core.Episode{
			ID: "ep_full", Subject: subject, Onset: when, OpenedAt: when, ClosedAt: &when, Condition: core.Failing,
			Worst: core.Failing, Kind: core.KindDeadService, Routing: core.RoutingDrained, Decisions: 1,
			DecisionID: "dec_full", ActionIDs: []string{"act_full"}, Notices: 1, Paged: true, HeldUntil: &when,
			LongestFailure: 3.5, Evidence: evidence, Demand: map[string]float64{"fra": 1}, Sentence: "fra failed",
		}},
		{Episode: &core.Episode{ID: "ep_bare"}},
		{Decision: &core.Decision{
			ID: "dec_full", EpisodeID: "ep_full", N: 1, Subject: subject, At: when, Verdict: core.VerdictAct,
			Mode:         core.ModeAutomatic,
			Rulings:      []core.Ruling{{Guard: "policy", N: 1, Answer: core.Bound, Numbers: []core.Number{{}}, Bound: .5}},
			Alternatives: []core.Alternative{{Policy: "p", Verdict: core.VerdictIgnore}}, Evidence: evidence,
			Votes:  []core.Vote{{Vantage: "ams", State: core.ProbeDown, Signal: "refused", Reason: "refused", At: when}},
			Effect: &core.Effect{Moved: 3}, ActionID: "act_full", Logic: "1",
		}},
		{Decision: &core.Decision{ID: "dec_bare", EpisodeID: "ep_bare", N: 1}},
		{Action: &core.Action{
			ID: "act_full", EpisodeID: "ep_full", DecisionID: "dec_full", Subject: subject, Plan: "drain",
			Kind: core.PlanDrain, Moves: core.ScopeReads, State: core.ActionVerifying, EndedAt: &when, ExpiresAt: &when,
			Steps: []core.StepRun{{
				N: 1, Of: 1, State: core.StepVerifying, Verify: core.VerifySpec{ShareBelow: .01, Within: 30},
				IntendedAt: &when, DoneAt: &when, EndedAt: &when, NotAfter: &when, Attempts: attempts,
				Before: &core.Traffic{Known: true}, After: &core.Traffic{}, Sentence: "x",
			}},
		}},
		{Action: &core.Action{ID: "act_bare", Kind: core.PlanRestore, Moves: core.ScopeWrites}},
		{Notice: &core.Notice{
			ID: "ntc_full", EpisodeID: "ep_full", N: 1, Kind: "trigger", Details: []core.Detail{{Name: "a", Value: "b"}},
			Attempts: attempts, State: "sent",
		}},
		{Line: &core.Line{At: when, EpisodeID: "ep_full", Subject: subject, Kind: "condition", Sentence: "one"}},
		{Line: &core.Line{Sentence: "two"}},
		{Routing: &core.Routing{Subject: core.Subject{Site: "fra", Service: "checkout"}, State: core.RoutingDrained}},
		{Brake: &core.Brake{On: true, By: "jo", Reason: "storm", At: when}},
		{Intent: &core.Intent{ID: "act_full_1", ActionID: "act_full"}},
	}
}

func TestHistory(t *testing.T) {
	r := start(t)
	rev := r.commit(full()...)
	if got := get[[]core.Episode](r, "/api/v1/episodes"); len(got) != 2 {
		t.Errorf("episodes are %+v", got)
	}
	if got := get[[]core.Episode](r, "/api/v1/episodes?open=true&limit=5"); len(got) != 1 || got[0].ID != "ep_bare" {
		t.Errorf("open episodes are %+v", got)
	}
	if got := get[core.Episode](r, "/api/v1/episodes/ep_full"); got.Sentence != "fra failed" || got.Worst != core.Failing {
		t.Errorf("episode is %+v", got)
	}
	if got := get[[]core.Decision](r, "/api/v1/episodes/ep_full/decisions"); len(got) != 1 || got[0].ID != "dec_full" {
		t.Errorf("decisions are %+v", got)
	}
	if got := get[[]core.Notice](r, "/api/v1/episodes/ep_full/notices"); len(got) != 1 {
		t.Errorf("notices are %+v", got)
	}
	if got := get[[]core.Notice](r, "/api/v1/episodes/ep_bare/notices"); got == nil || len(got) != 0 {
		t.Errorf("notices are %+v", got)
	}
	if got := get[core.Decision](r, "/api/v1/decisions/dec_bare"); got.EpisodeID != "ep_bare" {
		t.Errorf("decision is %+v", got)
	}
	if got := get[core.Decision](r, "/api/v1/decisions/dec_full"); got.Rulings[0].Answer != core.Bound {
		t.Errorf("decision is %+v", got)
	}
	if got := get[[]core.Action](r, "/api/v1/actions?limit=1"); len(got) != 1 {
		t.Errorf("actions are %+v", got)
	}
	if got := get[core.Action](r, "/api/v1/actions/act_bare"); got.Kind != core.PlanRestore {
		t.Errorf("action is %+v", got)
	}
	if got := get[core.Action](r, "/api/v1/actions/act_full"); got.Steps[0].State != core.StepVerifying {
		t.Errorf("action is %+v", got)
	}
	if got := get[[]core.Line](r, "/api/v1/timeline?after=0&limit=1"); len(got) != 2 || got[1].Seq != rev || got[1].N != 1 {
		t.Errorf("timeline is %+v", got)
	}
	if got := get[[]core.Line](r, "/api/v1/timeline?limit=1"); len(got) != 1 || got[0].Sentence != "two" {
		t.Errorf("newest line is %+v", got)
	}
	for _, path := range []string{
		"/episodes/no", "/episodes/no/decisions", "/episodes/no/notices", "/decisions/no", "/actions/no",
	} {
		r.refused(call{path: "/api/v1" + path}, http.StatusNotFound, core.CodeNotFound)
	}
	for _, path := range []string{
		"/episodes?limit=0", "/episodes?limit=1001", "/episodes?limit=x", "/episodes?open=perhaps", "/actions?limit=-1",
		"/timeline?after=-1", "/timeline?after=x",
	} {
		r.refused(call{path: "/api/v1" + path}, http.StatusBadRequest, core.CodeInvalid)
	}
}

func TestNow(t *testing.T) {
	r := start(t)
	r.refused(call{path: "/api/v1/conditions"}, http.StatusServiceUnavailable, core.CodeUnavailable)
	if got := get[[]Site](r, "/api/v1/sites"); len(got) != 3 || got[0].Fresh != nil || got[0].Services[0].Condition != core.ConditionUnknown {
		t.Errorf("sites before the first observation are %+v", got)
	}
	r.world.seen = &core.Observation{
		Replica: "r", At: when,
		Assessments: []core.Assessment{
			{Subject: core.Subject{Site: "fra", Service: "all"}, Condition: core.Degraded, Kind: core.KindGray},
			{
				Subject: core.Subject{Site: "fra", Service: "checkout"}, Condition: core.Failing, Kind: core.KindDeadService,
				Onset: &when, FailingSince: &when, HealthySince: &when, Global: []string{"fra"},
				Claims: []core.Claim{{Name: "edge"}}, Votes: []core.Vote{{}}, Sentence: "dead", Signal: "refused",
			},
		},
		Traffic: []core.Traffic{{Site: "fra", Service: "checkout", Known: true, Share: .5}},
		Writers: []core.Writer{{Name: "fra", Kind: "site", Fresh: true, LastAt: when}, {Name: "lon", Kind: "witness"}},
		Members: 3, Replicas: []core.ReplicaView{fullView(), {Replica: "r2"}},
	}
	r.commit(full()...)
	if got := get[core.Observation](r, "/api/v1/conditions"); got.Assessments[1].Kind != core.KindDeadService || got.Replicas[1].Subjects == nil {
		t.Errorf("conditions are %+v", got)
	}
	sites := get[[]Site](r, "/api/v1/sites")
	fra := sites[0].Services[0]
	if fra.Condition != core.Failing || fra.Routing != core.RoutingDrained || fra.Weight != 0 || fra.Traffic == nil {
		t.Errorf("fra is %+v", fra)
	}
	if ams := sites[1].Services[0]; ams.Routing != core.RoutingActive || ams.Weight != 100 || ams.Traffic != nil {
		t.Errorf("ams is %+v", ams)
	}
	if lon := sites[2]; lon.Kind != SiteKindWitness || lon.Fresh == nil || *lon.Fresh || lon.LastAt != nil {
		t.Errorf("lon is %+v", lon)
	}
	st := get[Status](r, "/api/v1/status")
	if st.ClusterID != r.ledger.Identity().ClusterID || st.Acting || st.OpenEpisodes != 1 || !st.Brake.On || len(st.Parts) != 4 {
		t.Errorf("status is %+v", st)
	}
	if x := st.SpecialTimes; x == nil || len(*x) != 1 || (*x)[0].Name != "sale" {
		t.Errorf("special times %v", x)
	}
	if x := st.Statistics; x == nil || x.Nominal != 0.5 || x.Achieved != nil {
		t.Errorf("statistics are %+v", x)
	}
	if x := st.Warming; x == nil || len(*x) != 1 || (*x)[0].Needed != 75 {
		t.Errorf("warming is %+v", x)
	}
	r.world.seen = &core.Observation{}
	get[core.Observation](r, "/api/v1/conditions") // the contract: no null where a list is promised
}

func TestReady(t *testing.T) {
	r := start(t)
	f := func(path string, wantCode int, want string) {
		t.Helper()
		code, body, _ := r.do(call{path: path})
		if code != wantCode || body != want {
			t.Errorf("%s answers %d %q, want %d %q", path, code, body, wantCode, want)
		}
	}
	f("/healthz", 200, "ok\n")
	f("/readyz", 200, "ready\n")
	f("/readyz?verbose", 200, "ledger: ok\nstore: ok\nquorum: ok\npace: ok\nready\n")
	r.world.pace = errors.New("behind")
	f("/readyz", 200, "pace: behind\nready\n")
	r.world.pace = nil
	// Without a quorum reads go on: a load balancer must not take all replicas out.
	r.world.quorum = errors.New("no majority for 12 s")
	f("/readyz", 200, "quorum: no majority for 12 s\nready for reading only\n")
	f("/readyz?verbose", 200, "ledger: ok\nstore: ok\nquorum: no majority for 12 s\npace: ok\nready for reading only\n")
	if parts := get[Status](r, "/api/v1/status").Parts; len(parts) != 4 || parts[2].Ok || !parts[0].Ok {
		t.Errorf("parts are %+v", parts)
	}
	r.world.broken = errors.New("no space left\non device")
	f("/readyz", 503, "store: no space left; on device\nquorum: no majority for 12 s\nnot ready\n")
	r.world.quorum = nil
	f("/readyz", 503, "store: no space left; on device\nnot ready\n")
	f("/readyz?verbose", 503, "ledger: ok\nstore: no space left; on device\nquorum: ok\npace: ok\nnot ready\n")
	f("/healthz", 200, "ok\n")
	if code, _, _ := r.do(call{method: "HEAD", path: "/healthz"}); code != 200 {
		t.Errorf("HEAD /healthz answers %d", code)
	}
}

func TestUnknownRoutesAndMethodsAreProblems(t *testing.T) {
	r := start(t)
	r.refused(call{path: "/api/v1/nothing"}, http.StatusNotFound, core.CodeNotFound)
	r.refused(call{path: "/api"}, http.StatusNotFound, core.CodeNotFound)
	r.refused(call{path: "/prometheus/api/v1/query"}, http.StatusNotFound, core.CodeNotFound)
	r.refused(call{path: "/missing.js", header: map[string]string{"Accept": "text/html"}}, http.StatusNotFound, core.CodeNotFound)
	r.refused(call{path: "/assets"}, http.StatusNotFound, core.CodeNotFound)
	r.refused(call{path: "/assets/../../go.mod"}, http.StatusNotFound, core.CodeNotFound)
	p := r.refused(call{method: "PUT", path: "/api/v1/sites"}, http.StatusMethodNotAllowed, codeMethod)
	if p.Hint == nil {
		t.Error("no hint")
	}
}

func TestPage(t *testing.T) {
	r := start(t)
	f := func(path, accept, wantBody, wantCache string) {
		t.Helper()
		code, body, header := r.do(call{path: path, header: map[string]string{"Accept": accept}})
		if code != 200 || !strings.Contains(body, wantBody) || !strings.Contains(header.Get("Cache-Control"), wantCache) {
			t.Errorf("%s answers %d %q, cache %q", path, code, body, header.Get("Cache-Control"))
		}
		if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be sniffed", path)
		}
	}
	f("/", "text/html", "Evenkeel", "no-cache")
	f("/episodes/ep_1", "text/html,*/*", "Evenkeel", "no-cache")
	f("/assets/a-1234.js", "*/*", "1", "immutable")
	f("/assets/deep/x.css", "*/*", "a{}", "immutable")
	f("/api/v1/openapi.yaml", "*/*", "openapi: 3.0.3", "no-store")
}

func TestMountedHandlers(t *testing.T) {
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, _ = w.Write([]byte(text + " " + q.Method + " " + q.URL.Path))
		})
	}
	r := start(t, func(o *Options) { o.Ingest, o.Prometheus, o.Metrics = say("door"), say("store"), say("metrics") })
	f := func(method, path, host, want string) {
		t.Helper()
		if _, body, _ := r.do(call{method: method, path: path, body: "{}", host: host}); body != want+" "+method+" "+path {
			t.Errorf("%s %s is answered by %q", method, path, body)
		}
	}
	for _, path := range []string{"/v1/metrics", "/api/v1/write", "/api/v1/agent/heartbeat"} {
		f("POST", path, "evenkeel.internal:8450", "door") // agents may call it by any name: they have tokens
	}
	f("GET", "/api/v1/agent/state", "", "door")
	f("GET", "/prometheus/api/v1/query", "", "store")
	f("POST", "/prometheus/api/v1/query_range", "", "store")
	f("GET", "/metrics", "", "metrics")
}

func TestForeignNamesOverLoopbackAreRefused(t *testing.T) {
	r := start(t, func(o *Options) { o.Hosts = []string{"keel.example.net"} })
	f := func(host string, want int) {
		t.Helper()
		if code, _, _ := r.do(call{path: "/api/v1/status", host: host}); code != want {
			t.Errorf("Host %s answers %d, want %d", host, code, want)
		}
	}
	f("127.0.0.1:8450", 200)
	f("localhost:8450", 200)
	f("LOCALHOST", 200)
	f("[::1]:8450", 200)
	f("lab.localhost:1", 200)
	f("keel.example.net", 200)
	f("evil.example.net", 421)
	f("127.0.0.1.evil.example.net:8450", 421)
	f("8.8.8.8", 421)
}

func TestPanicIsAnAnswer(t *testing.T) {
	r := start(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") })
	})
	r.refused(call{path: "/metrics"}, http.StatusInternalServerError, core.CodeInternal)
	if code, _, _ := r.do(call{path: "/healthz"}); code != 200 {
		t.Error("dead after a panic")
	}
}

func TestBrokenLedgerIsUnavailable(t *testing.T) {
	r := start(t)
	r.world.broken = &core.Error{Code: core.CodeUnavailable, Message: "the loop has stopped", Hint: "see the log"}
	c := call{method: "POST", path: "/api/v1/commands", token: r.admin, body: `{"kind":"brake","on":true,"reason":"x"}`}
	if p := r.refused(c, http.StatusServiceUnavailable, core.CodeUnavailable); *p.Detail != "the loop has stopped" {
		t.Errorf("problem is %+v", p)
	}
	r.world.broken = errors.New("secret detail")
	if p := r.refused(c, http.StatusInternalServerError, core.CodeInternal); p.Detail != nil {
		t.Errorf("the cause left the process: %q", *p.Detail)
	}
}

func TestEveryOperationIsCalledAndGuardedAsTheDocumentSays(t *testing.T) {
	r := start(t)
	doc := load(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == "streamEvents" {
				continue
			}
			guarded := op.Security != nil && len(*op.Security) > 0
			if mutating := method != http.MethodGet; mutating && !guarded {
				t.Errorf("%s %s changes something and needs no token", method, path)
			}
			code, _, header := r.do(call{method: method, path: "/api/v1" + strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path)})
			if guarded != (code == http.StatusUnauthorized) {
				t.Errorf("%s %s answers %d without a token, the document says guarded=%v", method, path, code, guarded)
			}
			if guarded && header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s does not say how to authenticate", method, path)
			}
			if op.Responses.Default() == nil && op.OperationID != "getOpenAPI" {
				t.Errorf("%s %s has no problem answer", method, path)
			}
		}
	}
}

func TestHostsOf(t *testing.T) {
	f := func(address string, want ...string) {
		t.Helper()
		if got := HostsOf(address); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
	f("")
	f("%")
	f("https://Keel.example.net:8443/x", "keel.example.net")
	f("http://[::1]:80", "::1")
	r := start(t)
	if p := r.refused(call{path: "/api/v1/status", host: "keel.example.net"}, http.StatusMisdirectedRequest, core.CodeForbidden); p.Hint == nil ||
		!strings.Contains(*p.Hint, "server.url") {
		t.Errorf("the hint does not name the key: %+v", p)
	}
}

// Who sends a body by drops is cut off; who waits for a long answer is not.
func TestBodiesArriveInTime(t *testing.T) {
	read, slow := make(chan error, 1), make(chan error, 1)
	r := start(t, func(o *Options) {
		o.Upload = time.Second
		o.Prometheus = http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			_, err := io.Copy(io.Discard, q.Body)
			if q.URL.Path != "/prometheus/long" {
				read <- err
				return
			}
			select {
			case <-q.Context().Done():
				slow <- q.Context().Err()
			case <-time.After(2 * time.Second):
				slow <- nil
			}
		})
	})
	r.do(call{method: "POST", path: "/prometheus/long", body: "query=up"})
	if err := <-slow; err != nil {
		t.Errorf("a long answer to a body that was there is cut off: %v", err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /prometheus/api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nq"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the body ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the server still waits for the rest of the body")
	}
}
