package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// control is a Control that says what it is told to and remembers what it was asked.
type control struct {
	leadership core.Leadership
	members    []core.Member
	found      []core.Preflight
	asked      []string
	token      core.Secret
	err        error
	// backup is written in as many pieces as it has; then comes err.
	backup []string
	ended  chan<- error // how the writing of a backup ended; nil: nobody asks
}

func (c *control) Leadership() core.Leadership { return c.leadership }

func (c *control) Members(context.Context) ([]core.Member, error) { return c.members, c.err }

func (c *control) AddReplica(_ context.Context, name string, replace bool) ([]byte, error) {
	c.ask("add", name, replace)
	return []byte(`{"ca_key": "the private key"}`), c.err
}

func (c *control) RemoveReplica(_ context.Context, name string) error {
	c.ask("remove", name)
	return c.err
}

func (c *control) Backup(_ context.Context, w io.Writer) (err error) {
	if c.ended != nil {
		defer func() { c.ended <- err }()
	}
	for _, piece := range c.backup {
		if _, err := io.WriteString(w, piece); err != nil {
			return err
		}
	}
	return c.err
}

func (c *control) Preflight(_ context.Context, cluster string) ([]core.Preflight, error) {
	c.ask("preflight", cluster)
	return c.found, c.err
}

func (c *control) Adopt(_ context.Context, id string, epoch int64, by, reason string, token core.Secret) (core.Identity, error) {
	c.ask("adopt", id, epoch, by, reason)
	c.token = token
	return core.Identity{ClusterID: "c_new", Epoch: 7}, c.err
}

func (c *control) ask(what ...any) {
	text, _ := json.Marshal(what)
	c.asked = append(c.asked, string(text))
}

func fullView() core.ReplicaView {
	return core.ReplicaView{
		Replica: "r1", At: when, Version: "v1.2.3", Revision: 3, Unfit: "its store is broken",
		Tilt: core.Tilt{On: true, Reason: "the clock jumped", Since: when, Until: when}, FreshSites: 2, Heard: when,
		Subjects: []core.SubjectView{
			{Subject: core.Subject{Site: "fra", Service: "checkout", Unit: "u"}, Condition: core.Failing, Kind: core.KindGray, FailingSince: &when},
			{Subject: core.Subject{Site: "ams", Service: "checkout"}},
		},
	}
}

func TestReplicas(t *testing.T) {
	r := start(t)
	if got := get[Replicas](r, "/api/v1/replicas"); got.Members == nil || len(got.Members) != 0 || time.Since(got.At).Abs() > time.Minute {
		t.Errorf("a server that is alone answers %+v", got)
	}
	view := fullView()
	r.control.leadership = core.Leadership{Self: "r2", Leader: "r1", Since: when, Reason: "x"}
	r.control.members = []core.Member{
		{Name: "r1", At: "fra", URL: "https://r1.example.net", Peer: "https://10.0.0.1:8452", State: core.MemberVoter, View: &view},
		{Name: "r2", State: core.MemberLearner, View: &core.ReplicaView{}},
		{Name: "r3", State: core.MemberAbsent},
	}
	got := get[Replicas](r, "/api/v1/replicas")
	if diff := cmp.Diff(r.control.members[0], got.Members[0]); diff != "" || got.Leadership.Leader != "r1" || len(got.Members) != 3 {
		t.Errorf("answers %+v\n%s", got, diff)
	}
	if r.control.members[1].View.Subjects != nil {
		t.Error("the answer was made in the records of the server")
	}
	st := get[Status](r, "/api/v1/status")
	if st.Leadership == nil || *st.Leadership != r.control.leadership || st.Pending != nil {
		t.Errorf("status is %+v", st)
	}
	r.control.err = &core.Error{Code: core.CodeUnavailable, Message: "no majority"}
	r.refused(call{path: "/api/v1/replicas"}, http.StatusServiceUnavailable, core.CodeUnavailable)
	if st := get[Status](r, "/api/v1/status"); st.Leadership == nil {
		t.Error("status needs the members")
	}
}

// restored is a ledger that waits to be adopted.
type restored struct{ Records }

func (restored) Identity() core.Identity {
	return core.Identity{ClusterID: "c", Epoch: 3, Pending: "it was restored"}
}

func TestStatusSaysThatTheLedgerWaitsToBeAdopted(t *testing.T) {
	r := start(t, func(o *Options) { o.Records = restored{o.Records} })
	if st := get[Status](r, "/api/v1/status"); st.Pending == nil || *st.Pending != "it was restored" {
		t.Errorf("status is %+v", st)
	}
}

func TestMembershipIsChanged(t *testing.T) {
	r := start(t)
	add := func(body string) call {
		return call{method: "POST", path: "/api/v1/replicas", token: r.admin, body: body}
	}
	for _, body := range []string{`{"name":"r2"}`, `{"name":"r2","replace":true}`} {
		code, answer, header := r.do(add(body))
		var made ReplicaAdded
		if err := json.Unmarshal([]byte(answer), &made); err != nil || code != http.StatusCreated || made.Bundle != `{"ca_key": "the private key"}` {
			t.Errorf("answers %d %s", code, answer)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Error("a private key may be kept by a cache")
		}
	}
	gone := call{method: "DELETE", path: "/api/v1/replicas/r%202", token: r.admin}
	if code, body, _ := r.do(gone); code != http.StatusNoContent || body != "" {
		t.Errorf("answers %d %s", code, body)
	}
	want := []string{`["add","r2",false]`, `["add","r2",true]`, `["remove","r 2"]`}
	if diff := cmp.Diff(want, r.control.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for _, body := range []string{
		`{}`, `{"name":""}`, `{"name":"a\nb"}`, `{"name":"\u202e"}`, `{"name":"` + strings.Repeat("x", 201) + `"}`, `{"name":"r2","replac":true}`,
		`{"name":"r2"} {}`, `{"name":2}`, ``,
	} {
		c := add(body)
		c.header = map[string]string{"Content-Type": "application/json"}
		r.refused(c, http.StatusBadRequest, core.CodeInvalid)
	}
	r.refused(call{method: "DELETE", path: "/api/v1/replicas/%1b", token: r.admin}, http.StatusBadRequest, core.CodeInvalid)
	if len(r.control.asked) != 3 {
		t.Errorf("bad input went through: %v", r.control.asked)
	}
	r.control.err = &core.Error{Code: core.CodeConflict, Message: "it is a member already"}
	r.refused(add(`{"name":"r2"}`), http.StatusConflict, core.CodeConflict)
	r.control.err = &core.Error{Code: core.CodeNotFound, Message: "no such replica"}
	r.refused(gone, http.StatusNotFound, core.CodeNotFound)
	if strings.Contains(r.logs.String(), "the private key") {
		t.Error("a private key is in the log")
	}
}

func TestPreflight(t *testing.T) {
	r := start(t)
	ask := call{path: "/api/v1/preflight", token: r.admin}
	if code, body, _ := r.do(ask); code != http.StatusOK || body != "[]\n" {
		t.Errorf("answers %d %q", code, body)
	}
	r.control.found = []core.Preflight{
		{Target: "director", Result: "epoch_behind", Sentence: "it holds epoch 4", Remedy: "adopt", ClusterID: "c", Epoch: 4, Seq: 9}, {Target: "dns"},
	}
	_, body, _ := r.do(ask)
	var got []core.Preflight
	if err := json.Unmarshal([]byte(body), &got); err != nil || !cmp.Equal(got, r.control.found) {
		t.Errorf("answers %s", body)
	}
	ask.path += "?cluster_id=c_other"
	r.do(ask)
	if want := []string{`["preflight",""]`, `["preflight",""]`, `["preflight","c_other"]`}; !cmp.Equal(r.control.asked, want) {
		t.Errorf("asked %v", r.control.asked)
	}
	ask.path += "%20x"
	r.refused(ask, http.StatusBadRequest, core.CodeInvalid)
}

func TestAdopt(t *testing.T) {
	r := start(t)
	adopt := func(body string) call {
		return call{method: "POST", path: "/api/v1/adopt", token: r.admin, body: body}
	}
	f := func(body, want string) {
		t.Helper()
		code, answer, _ := r.do(adopt(body))
		var got core.Identity
		if err := json.Unmarshal([]byte(answer), &got); err != nil || code != http.StatusOK || got.Epoch != 7 {
			t.Errorf("answers %d %s", code, answer)
		}
		if asked := r.control.asked[len(r.control.asked)-1]; asked != want {
			t.Errorf("%s asks %s, want %s", body, asked, want)
		}
	}
	f(`{"reason":"restored"}`, `["adopt","",0,"jo","restored"]`)
	f(`{"reason":"restored","epoch":7,"cluster_id":"c_new"}`, `["adopt","c_new",7,"jo","restored"]`)
	if r.control.token.Reveal() != r.admin {
		t.Error("the record would not be signed by the token of the giver")
	}
	for _, body := range []string{
		`{}`, `{"reason":""}`, `{"reason":"a\u0007"}`, `{"reason":"` + strings.Repeat("x", 501) + `"}`, `{"reason":"r","epoch":0}`,
		`{"reason":"r","epoch":-1}`, `{"reason":"r","epoch":1.5}`, `{"reason":"r","cluster_id":""}`, `{"reason":"r","cluster_id":"c\u202e"}`, `{"reason":"r","cluster_id":"the old one"}`,
		`{"reason":"r","cluster_id":"` + strings.Repeat("x", 65) + `"}`, `{"reason":"r","epok":9}`,
	} {
		r.refused(adopt(body), http.StatusBadRequest, core.CodeInvalid)
	}
	if len(r.control.asked) != 2 {
		t.Errorf("bad input went through: %v", r.control.asked)
	}
	if strings.Contains(r.logs.String(), r.admin) {
		t.Error("the token is in the log")
	}
}

func TestBackup(t *testing.T) {
	r := start(t)
	ask := call{path: "/api/v1/backup", token: r.admin}
	r.control.backup = []string{"all ", "", "of ", "it"}
	code, body, header := r.do(ask)
	if code != http.StatusOK || body != "all of it" || header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("answers %d %q as %s", code, body, header.Get("Content-Type"))
	}
	// What fails before the first byte is a problem like any other.
	r.control.backup, r.control.err = nil, &core.Error{Code: core.CodeUnavailable, Message: "the ledger could not be read"}
	r.refused(ask, http.StatusServiceUnavailable, core.CodeUnavailable)
	r.control.err = nil
	r.refused(ask, http.StatusInternalServerError, core.CodeInternal)

	site, secret, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(site, err)
	}
	ask.token = secret.Reveal()
	r.refused(ask, http.StatusForbidden, core.CodeForbidden)
	ask.method, ask.token = "HEAD", ""
	if code, _, _ := r.do(ask); code != http.StatusMethodNotAllowed {
		t.Errorf("HEAD answers %d", code)
	}
}

// Half a backup must not look like one.
func TestBackupBreaksOff(t *testing.T) {
	r := start(t)
	r.control.backup, r.control.err = []string{strings.Repeat("x", 1<<20), "half"}, errors.New("the disk is gone")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.admin)
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if n, err := io.Copy(io.Discard, res.Body); res.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes came with status %d and error %v", n, res.StatusCode, err)
	}
	if code, _, _ := r.do(call{path: "/healthz"}); code != http.StatusOK {
		t.Error("dead after a broken backup")
	}
	if !strings.Contains(r.logs.String(), "backup broken off") {
		t.Error("the log does not say so")
	}
}

// Over HTTP/1.0 the end of an answer cannot be told from a break.
func TestBackupNeedsAProtocolThatKnowsAnEnd(t *testing.T) {
	r := start(t)
	r.control.backup = []string{"all"}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /api/v1/backup HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer "+r.admin+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "HTTP/1.1") {
		t.Errorf("answers %d %s", res.StatusCode, body)
	}
}

// A reader that does not read must not hold the ledger's snapshot for ever; and the deadline of one answer must not
// meet the next.
func TestBackupDoesNotWaitForEver(t *testing.T) {
	r := start(t, func(o *Options) { o.Patience = 500 * time.Millisecond })
	r.control.backup = []string{"small"}
	ask := call{path: "/api/v1/backup", token: r.admin}
	for range 2 {
		if code, _, _ := r.do(ask); code != http.StatusOK {
			t.Fatalf("answers %d", code)
		}
		time.Sleep(600 * time.Millisecond) // past the deadline, on the same connection
	}
	ended := make(chan error, 1)
	for range 64 {
		r.control.backup = append(r.control.backup, strings.Repeat("x", 1<<20))
	}
	r.control.ended = ended
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /api/v1/backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+r.admin+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all of it was taken by a reader that does not read")
		}
	case <-time.After(time.Minute):
		t.Error("the backup still waits for its reader")
	}
}

func TestWithoutControlItsRoutesDoNotExist(t *testing.T) {
	r := start(t, func(o *Options) { o.Control = nil })
	if st := get[Status](r, "/api/v1/status"); st.Leadership != nil {
		t.Errorf("status is %+v", st)
	}
	for _, c := range []call{
		{path: "/api/v1/replicas"},
		{path: "/api/v1/backup"},
		{path: "/api/v1/preflight"},
		{method: "POST", path: "/api/v1/replicas", body: `{"name":"r2"}`},
		{method: "DELETE", path: "/api/v1/replicas/r2"},
		{method: "POST", path: "/api/v1/adopt", body: `{"reason":"r"}`},
	} {
		c.token = r.admin
		r.refused(c, http.StatusNotFound, core.CodeNotFound)
	}
}
