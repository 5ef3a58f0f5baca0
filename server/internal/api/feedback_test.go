package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

// heardOf is what app makes of the ledger, the store and the observations.
type heardOf struct {
	*ledger.Ledger
	alarms []core.Alarm
	raised time.Time // when the store knows of an alarm
	broken error
}

func (h *heardOf) Watches() []string    { return []string{"latency", "errors"} }
func (h *heardOf) Alarms() []core.Alarm { return h.alarms }
func (h *heardOf) Precision() []core.Precision {
	return []core.Precision{{Watch: "latency", True: 1, Labels: 1}}
}

func (h *heardOf) Raised(_ context.Context, _ string, onset time.Time) (bool, error) {
	return onset.Equal(h.raised), h.broken
}

func TestFeedback(t *testing.T) {
	onset := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	alarm := core.Alarm{
		ID: core.AlarmID("latency", "latency of fra", onset), Watch: "latency", Series: "latency of fra", Class: core.ClassSymptom,
		Onset: onset, Last: onset, Over: true, Sentence: "latency of fra: 2, expected 1",
	}
	h := &heardOf{alarms: []core.Alarm{alarm}, raised: onset.Add(-time.Hour)}
	r := start(t, func(o *Options) {
		h.Ledger = o.Records.(*ledger.Ledger)
		o.Opinions = h
	})
	_, site, err := r.ledger.CreateToken(t.Context(), "site", "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, ann, err := r.ledger.CreateToken(t.Context(), "admin", "ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.commit(core.Change{Episode: &core.Episode{ID: "ep_1", Subject: core.Subject{Site: "fra", Service: "checkout"}, Onset: onset, OpenedAt: onset}})
	post := func(token, body string) call {
		return call{method: "POST", path: "/api/v1/feedback", token: token, body: body}
	}
	f := func(token, body string, status int) (out core.Feedback) {
		t.Helper()
		code, text, _ := r.do(post(token, body))
		if err := json.Unmarshal([]byte(text), &out); err != nil || code != status {
			t.Fatalf("answers %d %s, want %d", code, text, status)
		}
		return out
	}
	at := onset.Format(time.RFC3339)
	about := `{"watch":"latency","series":"latency of fra","onset":"` + at + `","label":"true"}`
	first := f(r.admin, about, http.StatusCreated)
	if first.About != alarm.ID || first.By != "admin jo" || first.N != 1 || first.At.IsZero() {
		t.Errorf("kept %+v", first)
	}
	if again := f(r.admin, about, http.StatusOK); again != first {
		t.Errorf("said again %+v, first %+v", again, first)
	}
	second := f(r.admin, strings.Replace(about, `"true"`, `"false","note":"a backup"`, 1), http.StatusCreated)
	if second.N != 2 || second.Note != "a backup" {
		t.Errorf("kept %+v", second)
	}
	f(ann.Reveal(), about, http.StatusCreated)
	f(r.admin, `{"episode_id":"ep_1","label":"unsure"}`, http.StatusCreated)
	// The alarm is older than this server, and the store knows of it.
	f(r.admin, strings.Replace(about, at, h.raised.Format(time.RFC3339), 1), http.StatusCreated)

	if all := get[[]core.Feedback](r, "/api/v1/feedback"); len(all) != 4 {
		t.Errorf("the last words are %+v", all)
	}
	if all := get[[]core.Feedback](r, "/api/v1/feedback?history=true&about="+alarm.ID); len(all) != 3 {
		t.Errorf("the history is %+v", all)
	}
	if all := get[[]core.Feedback](r, "/api/v1/feedback?about=ep_1"); len(all) != 1 || all[0].Label != core.SaidUnsure || all[0].EpisodeID != "ep_1" {
		t.Errorf("of the episode is said %+v", all)
	}
	if all := get[[]core.Alarm](r, "/api/v1/alarms?limit=1"); len(all) != 1 || all[0] != alarm {
		t.Errorf("alarms are %+v", all)
	}
	if s := get[Status](r, "/api/v1/status"); s.Feedback == nil || (*s.Feedback)[0].True != 1 {
		t.Errorf("the status has %+v", s.Feedback)
	}
	if !strings.Contains(r.logs.String(), `msg="feedback given" about=`+alarm.ID) {
		t.Error("the log does not tell of it")
	}

	// Who may not, and what is no word about anything.
	r.refused(post("", about), http.StatusUnauthorized, core.CodeUnauthorized)
	r.refused(post(site.Reveal(), about), http.StatusForbidden, core.CodeForbidden)
	says := func(body string, status int, code, want string) {
		t.Helper()
		if p := r.refused(post(r.admin, body), status, code); !strings.Contains(deref(p.Detail)+" ("+deref(p.Hint)+")", want) {
			t.Errorf("%s: %s (%s), want %q", body, deref(p.Detail), deref(p.Hint), want)
		}
	}
	says(strings.Replace(about, `"watch":"latency"`, `"watch":"latenzy"`, 1), http.StatusNotFound, core.CodeNotFound,
		`there is no watch "latenzy" (name one of: latency, errors)`)
	says(`{"episode_id":"ep_2","label":"true"}`, http.StatusNotFound, core.CodeNotFound, "there is no episode ep_2")
	says(strings.Replace(about, at, onset.Add(time.Minute).Format(time.RFC3339), 1), http.StatusNotFound, core.CodeNotFound, "raised no alarm at ")
	says(`{"label":"true"}`, http.StatusBadRequest, core.CodeInvalid, "either an episode or an alarm")
	says(`{"episode_id":"ep_1","label":"maybe"}`, http.StatusBadRequest, core.CodeInvalid, `no label "maybe" (say true, false or unsure)`)
	says(`{"episode_id":"ep_1","label":"true","note":"`+strings.Repeat("x", 501)+`"}`, http.StatusBadRequest, core.CodeInvalid, "longer than 500 bytes")
	says(`{"episode_id":"ep_1","label":"true","note":"a\u001b[2J"}`, http.StatusBadRequest, core.CodeInvalid, "control character")
	says(`{"episode_id":"ep_1","label":"true","more":1}`, http.StatusBadRequest, core.CodeInvalid, "more")
	h.broken = &core.Error{Code: core.CodeUnavailable, Message: "the store does not answer", Err: errors.New("x")}
	says(strings.Replace(about, at, onset.Add(time.Minute).Format(time.RFC3339), 1), http.StatusServiceUnavailable, core.CodeUnavailable, "the store does not answer")
}
