package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func (r *rig) order(body string) call {
	return call{method: "POST", path: "/api/v1/commands", token: r.admin, body: body}
}

func TestCommands(t *testing.T) {
	r := start(t)
	r.world.reply = core.Reply{OK: true, Sentence: "done", ActionID: "act_1"}
	f := func(body string, want core.Command) {
		t.Helper()
		code, answer, _ := r.do(r.order(body))
		var reply core.Reply
		if err := json.Unmarshal([]byte(answer), &reply); err != nil || code != 200 || reply != r.world.reply {
			t.Fatalf("%s answers %d %s", body, code, answer)
		}
		want.By = "jo"
		got := r.world.commands[len(r.world.commands)-1]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	f(`{"kind":"approve","decision_id":"d","reason":"r"}`,
		core.Command{Kind: core.CommandApprove, DecisionID: "d", Reason: "r"})
	f(`{"kind":"veto","decision_id":"d","reason":"r"}`, core.Command{Kind: core.CommandVeto, DecisionID: "d", Reason: "r"})
	f(`{"kind":"hold","episode_id":"e","reason":"r"}`,
		core.Command{Kind: core.CommandHold, EpisodeID: "e", Hold: 15 * time.Minute, Reason: "r"})
	f(`{"kind":"hold","episode_id":"e","hold_s":90.5,"reason":"r"}`,
		core.Command{Kind: core.CommandHold, EpisodeID: "e", Hold: 90500 * time.Millisecond, Reason: "r"})
	f(`{"kind":"drain","subject":{"site":"fra","service":"checkout"},"reason":"r"}`,
		core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra", Service: "checkout"}, Reason: "r"})
	f(`{"kind":"restore","subject":{"site":"fra"},"reason":"r"}`,
		core.Command{Kind: core.CommandRestore, Subject: core.Subject{Site: "fra", Service: "all"}, Reason: "r"})
	f(`{"kind":"brake","on":false,"reason":"r"}`, core.Command{Kind: core.CommandBrake, Reason: "r"})
	r.world.reply = core.Reply{Code: "last-site", Sentence: "no"}
	f(`{"kind":"brake","on":true,"reason":"r"}`, core.Command{Kind: core.CommandBrake, On: true, Reason: "r"})
	b := glass()
	f(reconcile(b), core.Command{Kind: core.CommandReconcile, BreakGlass: &b, Reason: "r"})
	b.Subject.Unit, b.Detail, b.At = "u", "it said so", time.Now().Add(50*time.Second).UTC().Truncate(time.Second) // clocks differ a little
	f(reconcile(b), core.Command{Kind: core.CommandReconcile, BreakGlass: &b, Reason: "r"})
}

func glass() core.BreakGlass {
	return core.BreakGlass{
		ID: "bg_1", Subject: core.Subject{Site: "fra", Service: "checkout"}, Target: "director", State: core.RoutingDrained,
		ClusterID: "c_1", Epoch: 1, Seq: 1, Result: "done", By: "jo", Reason: "fra burns", At: when.AddDate(-1, 0, 0), Overrides: []string{"quorum"},
	}
}

func reconcile(b core.BreakGlass) string {
	text, err := json.Marshal(map[string]any{"kind": "reconcile", "reason": "r", "break_glass": b})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Every field of a record that comes from a file of some machine is checked.
func TestBreakGlassRecordsRefused(t *testing.T) {
	r := start(t)
	f := func(says string, change func(*core.BreakGlass)) {
		t.Helper()
		b := glass()
		change(&b)
		if p := r.refused(r.order(reconcile(b)), http.StatusBadRequest, core.CodeInvalid); p.Detail == nil || !strings.Contains(*p.Detail, says) {
			t.Errorf("%s: problem is %+v", says, p)
		}
	}
	texts := map[string]struct {
		of   func(*core.BreakGlass) *string
		most int
		may  bool // be empty
	}{
		"id":              {of: func(b *core.BreakGlass) *string { return &b.ID }, most: maxID},
		"subject.site":    {of: func(b *core.BreakGlass) *string { return &b.Subject.Site }, most: maxName},
		"subject.service": {of: func(b *core.BreakGlass) *string { return &b.Subject.Service }, most: maxName},
		"subject.unit":    {of: func(b *core.BreakGlass) *string { return &b.Subject.Unit }, most: maxName, may: true},
		"target":          {of: func(b *core.BreakGlass) *string { return &b.Target }, most: maxName},
		"cluster_id":      {of: func(b *core.BreakGlass) *string { return &b.ClusterID }, most: maxCluster},
		"detail":          {of: func(b *core.BreakGlass) *string { return &b.Detail }, most: maxDetail, may: true},
		"by":              {of: func(b *core.BreakGlass) *string { return &b.By }, most: maxName},
		"reason":          {of: func(b *core.BreakGlass) *string { return &b.Reason }, most: maxReason},
		"overrides":       {of: func(b *core.BreakGlass) *string { return &b.Overrides[0] }, most: maxID},
	}
	for name, x := range texts {
		f(name, func(b *core.BreakGlass) { *x.of(b) = strings.Repeat("x", x.most+1) })
		f(name, func(b *core.BreakGlass) { *x.of(b) = "a\x1b[2J" })
		f(name, func(b *core.BreakGlass) { *x.of(b) = "a\u202eb" })
		if !x.may {
			f(name, func(b *core.BreakGlass) { *x.of(b) = "" })
		}
	}
	f("weight", func(b *core.BreakGlass) { b.Weight = -1 })
	f("weight", func(b *core.BreakGlass) { b.Weight = 101 })
	f("state", func(b *core.BreakGlass) { b.State = core.RoutingDraining })
	f("epoch", func(b *core.BreakGlass) { b.Epoch = 0 })
	f("seq", func(b *core.BreakGlass) { b.Seq = -1 })
	f("result", func(b *core.BreakGlass) { b.Result = "perhaps" })
	f("at is missing", func(b *core.BreakGlass) { b.At = time.Time{} })
	f("in the future", func(b *core.BreakGlass) { b.At = time.Now().Add(2 * time.Minute) })
	f("overrides", func(b *core.BreakGlass) { b.Overrides = make([]string, maxOverrides+1) })
	f("state is unknown", func(b *core.BreakGlass) { b.State = core.RoutingUnknown })
	r.refused(r.order(`{"kind":"reconcile","reason":"r"}`), http.StatusBadRequest, core.CodeInvalid)
	r.refused(r.order(`{"kind":"reconcile","reason":"r","break_glass":null}`), http.StatusBadRequest, core.CodeInvalid)
	r.refused(r.order(strings.Replace(reconcile(glass()), `"seq"`, `"sequence"`, 1)), http.StatusBadRequest, core.CodeInvalid)
	if len(r.world.commands) != 0 {
		t.Errorf("refused records reached the loop: %+v", r.world.commands)
	}
}

func TestCommandsRefused(t *testing.T) {
	r := start(t)
	f := func(body string, status int, code string) {
		t.Helper()
		r.refused(r.order(body), status, code)
	}
	for _, body := range []string{
		`{"kind":"approve","reason":"r"}`, `{"kind":"veto","reason":"r"}`, `{"kind":"hold","reason":"r"}`,
		`{"kind":"hold","episode_id":"e","hold_s":0.1,"reason":"r"}`, `{"kind":"hold","episode_id":"e","hold_s":1e9,"reason":"r"}`,
		`{"kind":"drain","reason":"r"}`, `{"kind":"drain","subject":{"site":"","service":"all"},"reason":"r"}`,
		`{"kind":"brake","reason":"r"}`, `{"kind":"brake","on":true}`, `{"kind":"brake","on":true,"reason":""}`,
		`{"kind":"reboot","reason":"r"}`, `{}`, `[]`, `null`, `{"kind":"brake","on":true,"reason":"r"`, `{"kind":"brake"} {}`,
		`{"kind":"hold","episode_id":"e","hold":5,"reason":"r"}`, // a misspelt hold_s must not mean the default
		`{"kind":"brake","on":true,"reason":"` + strings.Repeat("x", 501) + `"}`,
		`{"kind":"brake","on":true,"reason":"\u001b[2Jr"}`, `{"kind":"brake","on":true,"reason":"a\nb"}`,
		`{"kind":"brake","on":true,"reason":"\u009b2J"}`, `{"kind":"brake","on":true,"reason":"\u202er"}`,
		`{"kind":"drain","subject":{"site":"fra\u0007","service":"all"},"reason":"r"}`,
		`{"kind":"veto","decision_id":"d\r","reason":"r"}`,
	} {
		f(body, http.StatusBadRequest, core.CodeInvalid)
	}
	f(`{"kind":"`+strings.Repeat("x", maxBody)+`"}`, http.StatusRequestEntityTooLarge, core.CodeTooLarge)
	c := r.order(`{"kind":"brake","on":true,"reason":"r"}`)
	c.header = map[string]string{"Content-Type": "text/plain"}
	r.refused(c, http.StatusUnsupportedMediaType, core.CodeInvalid)
	c.header = map[string]string{"Origin": "https://evil.example.net"}
	r.refused(c, http.StatusForbidden, core.CodeForbidden)
	c.header = map[string]string{"Sec-Fetch-Site": "cross-site"}
	r.refused(c, http.StatusForbidden, core.CodeForbidden)
	if len(r.world.commands) != 0 {
		t.Errorf("refused orders reached the loop: %+v", r.world.commands)
	}
}

func TestTokens(t *testing.T) {
	r := start(t)
	code, body, _ := r.do(call{
		method: "POST", path: "/api/v1/tokens", token: r.admin,
		body: `{"kind":"site","name":"fra","expires_at":"2100-01-01T00:00:00Z"}`,
	})
	var made TokenCreated
	if err := json.Unmarshal([]byte(body), &made); err != nil || code != 201 || !strings.HasPrefix(made.Token, "evk_site_") {
		t.Fatalf("answers %d %s", code, body)
	}
	_, body, _ = r.do(call{path: "/api/v1/tokens", token: r.admin})
	if !strings.Contains(body, made.Credential.ID) || strings.Contains(body, made.Token) {
		t.Errorf("list is %s", body)
	}
	// A site's token is no admin's.
	c := call{path: "/api/v1/tokens", token: made.Token}
	r.refused(c, http.StatusForbidden, core.CodeForbidden)
	gone := call{method: "DELETE", path: "/api/v1/tokens/" + made.Credential.ID, token: r.admin}
	if code, body, _ := r.do(gone); code != 204 || body != "" {
		t.Errorf("answers %d %s", code, body)
	}
	r.refused(gone, http.StatusNotFound, core.CodeNotFound)
	r.refused(c, http.StatusUnauthorized, core.CodeUnauthorized)
	for _, body := range []string{
		`{"kind":"root","name":"x"}`, `{"kind":"site","name":"A B"}`, `{"kind":"site"}`,
		`{"kind":"site","name":"fra","expires_at":"2000-01-01T00:00:00Z"}`, `{"kind":"site","name":"fra","expires_at":"soon"}`,
	} {
		r.refused(call{method: "POST", path: "/api/v1/tokens", token: r.admin, body: body}, http.StatusBadRequest, core.CodeInvalid)
	}
	for _, secret := range []string{made.Token, r.admin} {
		if strings.Contains(r.logs.String(), secret) {
			t.Error("a token is in the log")
		}
	}
}

func TestWrongTokensRunOutOfTries(t *testing.T) {
	r := start(t)
	c := r.order(`{"kind":"brake","on":true,"reason":"r"}`)
	got := map[int]int{}
	for n := range failureBurst + 10 {
		c.token = fmt.Sprint("evk_admin_", n)
		code, _, _ := r.do(c)
		got[code]++
	}
	if got[http.StatusUnauthorized] < failureBurst || got[http.StatusTooManyRequests] == 0 {
		t.Errorf("wrong tokens were answered %v", got)
	}
	c.token = ""
	r.refused(c, http.StatusTooManyRequests, codeTooMany)
	c.token = r.admin
	if code, body, _ := r.do(c); code != 200 {
		t.Errorf("the right token is answered %d %s", code, body)
	}
	c.header = map[string]string{"Authorization": "Basic " + r.admin}
	if code, _, _ := r.do(c); code == 200 {
		t.Error("a token passed as Basic")
	}
}
