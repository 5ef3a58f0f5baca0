package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestChanges(t *testing.T) {
	r := start(t)
	_, secret, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, edge, err := r.ledger.CreateToken(t.Context(), "edge", "director", nil)
	if err != nil {
		t.Fatal(err)
	}
	site := secret.Reveal()
	declare := func(token, body string) call {
		return call{method: "POST", path: "/api/v1/changes", token: token, body: body}
	}
	f := func(c call, status int) (out core.DeclaredChange) {
		t.Helper()
		code, body, _ := r.do(c)
		if err := json.Unmarshal([]byte(body), &out); err != nil || code != status {
			t.Fatalf("answers %d %s, want %d", code, body, status)
		}
		return out
	}
	const deploy = `{"id":"run-7","what":"deploy checkout 1.4","service":"checkout","ttl_s":1800,"source":"ci"}`
	made := f(declare(site, deploy), http.StatusCreated)
	if made.Site != "fra" || made.By != "site fra" || made.Service != "checkout" || made.End.Sub(made.Start) != 30*time.Minute {
		t.Errorf("made %+v", made)
	}
	if again := f(declare(site, deploy), http.StatusOK); again != made {
		t.Errorf("the second time %+v, the first %+v", again, made)
	}
	r.refused(declare(site, strings.Replace(deploy, "1.4", "1.5", 1)), http.StatusConflict, core.CodeConflict)
	r.refused(declare(site, `{"site":"ams","what":"x","ttl_s":60}`), http.StatusForbidden, core.CodeForbidden)
	r.refused(declare(edge.Reveal(), deploy), http.StatusForbidden, core.CodeForbidden)
	r.refused(declare("", deploy), http.StatusUnauthorized, core.CodeUnauthorized)
	r.refused(call{method: "POST", path: "/api/v1/commands", token: site, body: `{"kind":"brake","reason":"x","on":true}`},
		http.StatusForbidden, core.CodeForbidden)

	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	planned := f(declare(r.admin, `{"site":"ams","what":"migration","start":"`+later+`","ttl_s":600}`), http.StatusCreated)
	if planned.Service != core.AllServices || planned.By != "admin jo" || !strings.HasPrefix(planned.ID, "chg_") {
		t.Errorf("planned %+v", planned)
	}
	if all := get[[]core.DeclaredChange](r, "/api/v1/changes"); len(all) != 2 || all[0] != planned || all[1] != made {
		t.Errorf("all are %+v", all)
	}
	if active := get[[]core.DeclaredChange](r, "/api/v1/changes?active=true&limit=5"); len(active) != 1 || active[0] != made {
		t.Errorf("under way are %+v", active)
	}
	for _, body := range []string{
		`{"what":"x","ttl_s":60}`, `{"site":"fra","what":"x"}`, `{"site":"fra","ttl_s":60}`, `{"site":"fra","what":"","ttl_s":60}`,
		`{"site":"fra","what":"x","ttl_s":60,"end":"` + later + `"}`, `{"site":"fra","what":"x","ttl_s":0}`,
		`{"site":"fra","what":"x","ttl_s":1e300}`, `{"site":"muc","what":"x","ttl_s":60}`,
		`{"site":"fra","service":"chekout","what":"x","ttl_s":60}`, `{"site":"fra","what":"a\nb","ttl_s":60}`,
		`{"site":"fra","what":"x","ttl_s":60,"id":"a b"}`, `{"site":"fra","what":"x","ttl_s":60,"start":"2000-01-01T00:00:00Z"}`,
		`{"site":"fra","what":"x","ttl_s":60,"more":1}`, `{`,
	} {
		r.refused(declare(r.admin, body), http.StatusBadRequest, core.CodeInvalid)
	}
}

func TestMaintenance(t *testing.T) {
	r := start(t)
	_, secret, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	post := func(token, path, body string) call {
		return call{method: "POST", path: "/api/v1/changes" + path, token: token, body: body}
	}
	f := func(c call, status int) (out core.DeclaredChange) {
		t.Helper()
		code, body, _ := r.do(c)
		if err := json.Unmarshal([]byte(body), &out); err != nil || code != status {
			t.Fatalf("answers %d %s, want %d", code, body, status)
		}
		return out
	}
	const work = `{"site":"fra","what":"swap the disks","ttl_s":259200,"maintenance":true}`
	made := f(post(r.admin, "", work), http.StatusCreated)
	if !made.Maintenance || made.Service != core.AllServices || made.By != "admin jo" || made.End.Sub(made.Start) != 72*time.Hour {
		t.Errorf("made %+v", made)
	}
	// No site may keep itself, or end what keeps it, from being drained.
	r.refused(post(secret.Reveal(), "", strings.Replace(work, "259200", "60", 1)), http.StatusForbidden, core.CodeForbidden)
	end := `{"site":"fra","id":"` + made.ID + `"}`
	r.refused(post(secret.Reveal(), "/end", end), http.StatusForbidden, core.CodeForbidden)
	r.refused(post("", "/end", end), http.StatusUnauthorized, core.CodeUnauthorized)
	for _, body := range []string{
		strings.Replace(work, "259200", "259201", 1), strings.Replace(work, "true", "false", 1), `{"site":"fra","what":"x","maintenance":true}`,
	} {
		r.refused(post(r.admin, "", body), http.StatusBadRequest, core.CodeInvalid)
	}
	for _, body := range []string{`{"site":"fra"`, `{"site":"fra","id":"a\u0007"}`, `{"site":"fra","id":"x","more":1}`} {
		r.refused(post(r.admin, "/end", body), http.StatusBadRequest, core.CodeInvalid)
	}
	r.refused(post(r.admin, "/end", `{"site":"ams","id":"`+made.ID+`"}`), http.StatusNotFound, core.CodeNotFound)

	ended := f(post(r.admin, "/end", end), http.StatusOK)
	if ended.EndedBy != "admin jo" || ended.EndedAt.Before(made.Start) || !ended.End.Equal(made.End) || ended.What != made.What {
		t.Errorf("ended %+v", ended)
	}
	if again := f(post(r.admin, "/end", end), http.StatusOK); again != ended {
		t.Errorf("the second time %+v, the first %+v", again, ended)
	}
	if active := get[[]core.DeclaredChange](r, "/api/v1/changes?active=true"); len(active) != 0 {
		t.Errorf("under way are %+v", active)
	}
	if all := get[[]core.DeclaredChange](r, "/api/v1/changes"); len(all) != 1 || all[0] != ended {
		t.Errorf("all are %+v", all)
	}
}

func TestAgentsDeclareUnderAnyName(t *testing.T) {
	r := start(t)
	_, secret, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	// An agent behind a proxy on the same machine; a page of a foreign name reads nothing there.
	c := call{method: "POST", path: "/api/v1/changes", token: secret.Reveal(), body: `{"what":"x","ttl_s":60}`, host: "evenkeel.example.net"}
	if code, body, _ := r.do(c); code != http.StatusCreated {
		t.Errorf("answers %d %s", code, body)
	}
	r.refused(call{path: "/api/v1/changes", host: "evenkeel.example.net"}, http.StatusMisdirectedRequest, core.CodeForbidden)
}

func TestIncidents(t *testing.T) {
	r := start(t)
	_, site, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	post := func(token, path, body string) call {
		return call{method: "POST", path: "/api/v1/changes" + path, token: token, body: body}
	}
	begun := time.Now().Add(-30 * 24 * time.Hour).UTC().Truncate(time.Second)
	body := `{"site":"fra","what":"the switch","incident":true,"ttl_s":3600,"start":"` + begun.Format(time.RFC3339) + `"}`
	r.refused(post(site.Reveal(), "", body), http.StatusForbidden, core.CodeForbidden)
	r.refused(post(r.admin, "", strings.Replace(body, `,"incident":true`, "", 1)), http.StatusBadRequest, core.CodeInvalid)
	r.refused(post(r.admin, "", `{"site":"fra","what":"x","incident":true,"ttl_s":60}`), http.StatusBadRequest, core.CodeInvalid)
	var made, back core.DeclaredChange
	code, text, _ := r.do(post(r.admin, "", body))
	if err := json.Unmarshal([]byte(text), &made); err != nil || code != http.StatusCreated || !made.Incident || !strings.HasPrefix(made.ID, "inc_") {
		t.Fatalf("%d %s", code, text)
	}
	code, text, _ = r.do(post(r.admin, "/end", `{"site":"fra","id":"`+made.ID+`"}`))
	if err := json.Unmarshal([]byte(text), &back); err != nil || code != http.StatusOK || !back.Until().Equal(begun) || back.EndedBy != "admin jo" {
		t.Errorf("%d %s", code, text)
	}
}
