package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
	"github.com/evenkeel/evenkeel/remediations/remediationtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(executorDir); dir != "" {
		fmt.Fprintln(os.Stderr, runExecutor(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func secret(t testing.TB, text string) remediations.Secret {
	t.Helper()
	s, err := remediations.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is what the executor moves: weights by site/service, 100 when absent.
type world struct {
	mu      sync.Mutex
	weights map[string]float64
	applied int
}

func (w *world) apply(_ context.Context, c receiver.Command) (receiver.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied++
	if w.weights == nil {
		w.weights = map[string]float64{}
	}
	w.weights[c.Site+"/"+c.Service] = float64(c.Step.Weight)
	return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
}

func (w *world) weight(key string) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v, ok := w.weights[key]; ok {
		return v
	}
	return 100
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied
}

func options(t testing.TB, w *world) receiver.Options {
	t.Helper()
	return receiver.Options{
		Secrets: []remediations.Secret{secret(t, testSecret)}, Clusters: []string{"c_1"},
		StateFile: filepath.Join(t.TempDir(), "fence.json"), Apply: w.apply,
	}
}

func open(t testing.TB, o receiver.Options) *receiver.Receiver {
	t.Helper()
	x, err := receiver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, x) })
	return x
}

func shut(t testing.TB, x *receiver.Receiver) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// send delivers one signed attempt and returns the answer.
func send(t testing.TB, h http.Handler, r remediations.Request) (int, map[string]any) {
	t.Helper()
	b, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(b)))
	if err := remediations.Sign(req.Header, r.ID, time.Now(), b, secret(t, testSecret)); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return w.Code, body
}

func TestContract(t *testing.T) {
	remediationtest.TestExecutor(t, func(t *testing.T) remediationtest.Executor {
		w := &world{}
		second := remediations.GenerateSecret()
		o := options(t, w)
		o.Secrets = append(o.Secrets, secret(t, second))
		x := open(t, o)
		s := httptest.NewServer(x)
		t.Cleanup(func() { s.Close() })
		return remediationtest.Executor{
			URL: s.URL, Secrets: []string{testSecret, second}, ClusterID: "c_1", Site: "fra", Service: "checkout",
			Weight: func(*testing.T) float64 { return w.weight("fra/checkout") },
			Restart: func(t *testing.T) string {
				s.CloseClientConnections()
				s.Close()
				shut(t, x)
				x = open(t, o)
				s = httptest.NewServer(x)
				return s.URL
			},
		}
	})
}

func drain(site, service string, seq int64, weight int) remediations.Request {
	return remediationtest.Drain("c_1", site, service, seq, weight)
}

func want(t *testing.T, h http.Handler, r remediations.Request, status int) map[string]any {
	t.Helper()
	got, body := send(t, h, r)
	if got != status {
		t.Fatalf("%s: answer %d %v, want %d", r.ID, got, body, status)
	}
	return body
}

// Two commands about different subjects have no order, those about overlapping ones have.
func TestFenceIsPerOverlappingSubject(t *testing.T) {
	w := &world{}
	x := open(t, options(t, w))
	want(t, x, drain("fra", "search", 12, 0), 200)
	want(t, x, drain("fra", "checkout", 10, 0), 200) // another service
	want(t, x, drain("ams", "all", 9, 0), 200)       // another site
	want(t, x, drain("fra", "all", 11, 0), 409)      // search at 12 is a part of it
	want(t, x, drain("fra", "all", 13, 0), 200)
	want(t, x, drain("fra", "checkout", 12, 50), 409) // a part of the whole at 13
	unit := drain("fra", "checkout", 14, 50)
	unit.Data.Unit = "7"
	want(t, x, unit, 200)
	want(t, x, drain("fra", "checkout", 13, 10), 409) // all units contain unit 7
	other := drain("fra", "checkout", 13, 0)
	other.Data.Unit = "8"
	want(t, x, other, 200)
}

func TestEpochIsPerCluster(t *testing.T) {
	o := options(t, &world{})
	o.Clusters = append(o.Clusters, "c_2")
	x := open(t, o)
	young := drain("fra", "checkout", 3, 0)
	young.Data.Fencing.Epoch = 2
	want(t, x, young, 200)
	body := want(t, x, drain("ams", "search", 500, 0), 409)
	if current, _ := body["current"].(map[string]any); current["epoch"] != 2.0 || current["seq"] != 3.0 {
		t.Errorf("current %v, want epoch 2 and seq 3", body["current"])
	}
	want(t, x, remediationtest.Drain("c_2", "ams", "search", 1, 0), 200)
}

func TestOneTokenTwoWishes(t *testing.T) {
	w := &world{}
	x := open(t, options(t, w))
	want(t, x, drain("fra", "checkout", 10, 50), 200)
	want(t, x, drain("fra", "checkout", 10, 0), 409)
	same := drain("fra", "checkout", 10, 50)
	same.ID = "act_other_1"
	want(t, x, same, 200)
	if w.count() != 1 {
		t.Errorf("applied %d times, want once", w.count())
	}
}

func TestAdoptFirst(t *testing.T) {
	o := options(t, &world{})
	o.Clusters, o.AdoptFirst = nil, true
	x := open(t, o)
	dry := remediationtest.Drain("c_9", "fra", "checkout", 1, 0)
	dry.Data.DryRun = true
	want(t, x, dry, 200) // adopts nobody
	want(t, x, drain("fra", "checkout", 1, 0), 200)
	want(t, x, remediationtest.Drain("c_9", "fra", "checkout", 2, 0), 403)
	shut(t, x)
	want(t, open(t, o), remediationtest.Drain("c_9", "fra", "checkout", 2, 0), 403)
}

func TestRefusalStands(t *testing.T) {
	w := &world{}
	o := options(t, w)
	asked := 0
	o.Check = func(_ context.Context, c receiver.Command) error {
		asked++
		if c.Precondition.MinActiveSites > 1 {
			return &receiver.Refuse{By: "last-site", Detail: "only 1 would serve"}
		}
		return nil
	}
	x := open(t, o)
	r := drain("fra", "checkout", 10, 0)
	r.Data.Precondition.MinActiveSites = 2
	for range 2 {
		if body := want(t, x, r, 412); body["refused_by"] != "last-site" {
			t.Errorf("body %v", body)
		}
	}
	want(t, x, drain("fra", "checkout", 9, 0), 409) // the refused command was the newest word all the same
	dry := drain("ams", "checkout", 11, 0)
	dry.Data.DryRun, dry.Data.Precondition.MinActiveSites = true, 2
	want(t, x, dry, 412)
	if asked != 2 || w.count() != 0 {
		t.Errorf("rule asked %d times, applied %d; want 2 and 0", asked, w.count())
	}
}

// A crash between token and answer: the same command is applied again, an older one never.
func TestCrashInApply(t *testing.T) {
	w := &world{}
	o := options(t, w)
	sound := o.Apply
	o.Apply = func(context.Context, receiver.Command) (receiver.State, error) { panic("power cut") }
	r := drain("fra", "checkout", 10, 0)
	crashed := open(t, o)
	func() {
		defer func() { _ = recover() }()
		send(t, crashed, r)
	}()
	shut(t, crashed)
	repeated := false
	o.Apply = func(ctx context.Context, c receiver.Command) (receiver.State, error) {
		repeated = c.Repeated
		return sound(ctx, c)
	}
	x := open(t, o)
	want(t, x, drain("fra", "checkout", 9, 50), 409)
	want(t, x, r, 200)
	if !repeated || w.count() != 1 {
		t.Errorf("repeated %v, applied %d; want true and 1", repeated, w.count())
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	w := &world{}
	o := options(t, w)
	sound, fails := o.Apply, 1
	o.Apply = func(ctx context.Context, c receiver.Command) (receiver.State, error) {
		if fails > 0 {
			fails--
			return receiver.State{}, errors.New("the load balancer does not answer")
		}
		return sound(ctx, c)
	}
	x := open(t, o)
	want(t, x, drain("fra", "checkout", 10, 0), 503)
	want(t, x, drain("fra", "checkout", 10, 0), 200)
	shut(t, x)
	o.Apply = func(context.Context, receiver.Command) (receiver.State, error) { return receiver.State{}, nil }
	want(t, open(t, o), drain("fra", "checkout", 11, 0), 503) // the zero state is not done
}

func TestAcceptedIsPolled(t *testing.T) {
	o := options(t, &world{})
	polls := 0
	o.Apply = func(context.Context, receiver.Command) (receiver.State, error) {
		if polls++; polls < 3 {
			return receiver.State{State: remediations.StateAccepted}, nil
		}
		return receiver.State{State: remediations.StateDone}, nil
	}
	x := open(t, o)
	r := drain("fra", "checkout", 10, 0)
	want(t, x, r, 202)
	want(t, x, r, 202)
	want(t, x, r, 200)
	want(t, x, r, 200)
	if polls != 3 {
		t.Errorf("applied %d times, want 3", polls)
	}
}

// A repeat that arrives while Apply runs is accepted, not run beside it.
func TestRepeatWhileRunning(t *testing.T) {
	o := options(t, &world{})
	begun, finish := make(chan struct{}), make(chan struct{})
	calls := 0
	o.Apply = func(context.Context, receiver.Command) (receiver.State, error) {
		calls++
		close(begun)
		<-finish
		return receiver.State{State: remediations.StateDone}, nil
	}
	x := open(t, o)
	r := drain("fra", "checkout", 10, 0)
	first := make(chan int)
	go func() { status, _ := send(t, x, r); first <- status }()
	<-begun
	want(t, x, r, 202)
	close(finish)
	if got := <-first; got != 200 {
		t.Errorf("the first is answered %d, want 200", got)
	}
	want(t, x, r, 200)
	if calls != 1 {
		t.Errorf("applied %d times, want once", calls)
	}
}

func TestTimes(t *testing.T) {
	x := open(t, options(t, &world{}))
	r := drain("fra", "checkout", 10, 0)
	r.Data.NotBefore = time.Now().Add(time.Minute)
	want(t, x, r, 425)
	r.Data.NotBefore = time.Now().Add(5 * time.Second) // clocks differ
	want(t, x, r, 200)
	absent := drain("fra", "checkout", 11, 0)
	absent.Data.NotBefore = time.Time{}
	want(t, x, absent, 200)
}

// Without a place for the token nothing is applied.
func TestNoDiskNoAction(t *testing.T) {
	w := &world{}
	o := options(t, w)
	x := open(t, o)
	if err := os.RemoveAll(filepath.Dir(o.StateFile)); err != nil {
		t.Fatal(err)
	}
	want(t, x, drain("fra", "checkout", 10, 0), 503)
	if w.count() != 0 {
		t.Error("applied without a token on disk")
	}
}

func TestLeftoversOfACrashAreSwept(t *testing.T) {
	o := options(t, &world{})
	x := open(t, o)
	want(t, x, drain("fra", "checkout", 10, 0), 200)
	shut(t, x)
	if err := os.WriteFile(o.StateFile+".tmp-123", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, open(t, o), drain("fra", "checkout", 9, 0), 409)
	entries, err := os.ReadDir(filepath.Dir(o.StateFile))
	if err != nil || len(entries) != 2 { // the state and its lock
		t.Errorf("%v, %v", entries, err)
	}
}

func TestNew(t *testing.T) {
	f := func(change func(*receiver.Options), want string) {
		t.Helper()
		o := options(t, &world{})
		change(&o)
		if _, err := receiver.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	f(func(o *receiver.Options) { o.Secrets = nil }, "secret")
	f(func(o *receiver.Options) { o.Apply = nil }, "Apply")
	f(func(o *receiver.Options) { o.StateFile = "" }, "state file")
	f(func(o *receiver.Options) { o.Clusters = nil }, "obeys nobody")
	f(func(o *receiver.Options) { o.Clusters = []string{""} }, "empty cluster id")
	f(func(o *receiver.Options) {
		o.StateFile = filepath.Join(filepath.Dir(o.StateFile), "gone", "fence.json")
	}, "folder must exist")
	subject := func(change string) string {
		return `{"version":1,"epochs":{"c_1":1},"subjects":[{"site":"fra","service":"checkout",` +
			`"fencing":{"cluster_id":"c_1","epoch":1,"seq":9},"id":"a9","desired_state":"drained","weight":0` + change + `}]}`
	}
	for _, text := range []string{
		"", "{", `{"version":7}`, `[]`, `{}`, `null`, `{"version":1}`, `{"version":1,"subject":[]}`, `{"version":1,"subjects":[{}]}`,
		`{"version":1,"epochs":{"c_1":1},"subjects":null}`, `{"version":1,"adopted":"c_1"}`, subject("") + "x",
		subject(`,"reply":{}`), subject(`,"reply":{"status":99}`), subject(`,"reply":{"status":503}`),
		strings.Replace(subject(""), `"c_1":1`, `"c_1":0`, 1), strings.Replace(subject(""), `"weight":0`, `"weight":101`, 1),
	} {
		f(func(o *receiver.Options) {
			if err := os.WriteFile(o.StateFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "fencing state")
	}
}

// Two receivers with one state file would each forget what the other obeyed.
func TestOneReceiverPerStateFile(t *testing.T) {
	o := options(t, &world{})
	x := open(t, o)
	if _, err := receiver.New(o); err == nil || !strings.Contains(err.Error(), "state file of its own") {
		t.Errorf("the second is made with error %v", err)
	}
	want(t, x, drain("fra", "checkout", 10, 0), 200)
	shut(t, x)
	shut(t, x) // again is nothing
	want(t, x, drain("fra", "checkout", 11, 0), 503)
	want(t, open(t, o), drain("fra", "checkout", 9, 0), 409)
}

func FuzzReceiver(f *testing.F) {
	w := &world{}
	x := open(f, options(f, w))
	good, err := drain("fra", "checkout", 10, 0).Body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "act_1_1")
	f.Add([]byte(`{"type":"action.site.drain","data":null}`), "x")
	f.Add([]byte(`null`), "a.b")
	f.Add([]byte(`{"data":{"fencing":{"epoch":-1}}}`), "")
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(b)))
		if err := remediations.Sign(req.Header, id, time.Now(), b, secret(t, testSecret)); err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		x.ServeHTTP(rec, req)
		if rec.Code == http.StatusInternalServerError || rec.Code < 200 {
			t.Fatalf("answer %d to %q", rec.Code, b)
		}
		if !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("answer %q is no JSON", rec.Body)
		}
	})
}

func ExampleNew() {
	dir, err := os.MkdirTemp("", "executor")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key, err := remediations.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		return
	}
	h, err := receiver.New(receiver.Options{
		Secrets: []remediations.Secret{key}, Clusters: []string{"c_7f3a"}, StateFile: filepath.Join(dir, "fence.json"),
		Apply: func(_ context.Context, c receiver.Command) (receiver.State, error) {
			// Here the load balancer would be told.
			return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
		},
	})
	if err != nil {
		return
	}
	defer func() { _ = h.Close() }()
	for _, seq := range []int64{412, 411} {
		cmd := remediationtest.Drain("c_7f3a", "fra", "checkout", seq, 50)
		body, err := cmd.Body()
		if err != nil {
			return
		}
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		if err := remediations.Sign(req.Header, cmd.ID, time.Now(), body, key); err != nil {
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, req)
		_, _ = io.Copy(os.Stdout, answer.Body)
	}
	// Output:
	// {"state":"done","weight":50}
	// {"error":"stale","detail":"a newer command has been obeyed","current":{"cluster_id":"c_7f3a","epoch":1,"seq":412}}
}
