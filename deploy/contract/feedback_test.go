package contract

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestFeedback: people say of an alarm and of an episode whether they were right, by command, in the browser and by the API. It is
// counted, and a server that is killed knows it afterwards.
func TestFeedback(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	s, w, text := watched(t, watches)
	w.setSurge("fra", 12)
	type alarm struct {
		ID, Watch, Series string
		Onset             time.Time
		Over              bool
	}
	var alarms []alarm
	until(t, "there is an alarm", func() bool {
		alarms = nil
		s.get("/api/v1/alarms", &alarms)
		return len(alarms) > 0
	})
	a := alarms[0]
	if a.Watch != "edge-requests" || !strings.Contains(a.Series, "fra") || a.Over {
		t.Errorf("the alarm is %+v", a)
	}
	w.setDown("ams", true)
	until(t, "there is an episode", func() bool { return len(s.episodes()) > 0 })
	ep := s.episodes()[0].ID

	// By command, twice, and with a change of mind.
	for range 2 {
		if out := s.order("feedback", "give", "true", "--alarm", a.ID); !strings.HasPrefix(out, a.ID+" is true by admin ") {
			t.Errorf("the command says %s", out)
		}
	}
	s.order("feedback", "give", "false", "--alarm", a.ID, "--note", attack)
	if out, code := s.cli("feedback", "give", "true", "--episode", "ep_none"); code == 0 || !strings.Contains(out, "there is no episode ep_none") {
		t.Errorf("exit %d, %s", code, out)
	}
	post := func(token, body string) (int, string) {
		t.Helper()
		status, answer, err := s.post("/api/v1/feedback", token, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return status, answer
	}
	if status, answer := post(w.tokens["fra"], `{"episode_id":"`+ep+`","label":"true"}`); status != http.StatusForbidden {
		t.Errorf("with the token of a site: %d %s", status, answer)
	}

	// In the browser, with the keyboard alone.
	admin, err := os.ReadFile(filepath.Join(s.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	b.do(chromedp.Navigate(s.url + "/"))
	b.reads("anomalies", "edge-requests", "Right", "Wrong", ": wrong ("+attack+")")
	b.reads("precision", "Watch edge-requests", "no threshold moves by it")
	button := "say-now-" + ep + "-true"
	until(t, "the episode has its buttons", func() bool {
		return b.is(`document.getElementById('` + button + `') !== null`)
	})
	b.is(`document.getElementById('` + button + `').focus() === undefined`)
	b.do(chromedp.KeyEvent("\r"))
	until(t, "the dialog is open, the token asked for", func() bool {
		return b.is(`document.getElementById('say').open && document.activeElement.id === 'say-token'`)
	})
	b.do(chromedp.KeyEvent("not a token\r"))
	b.reads("say-problem", "the token is not valid")
	b.is(`document.getElementById('say-token').select() === undefined`)
	b.do(chromedp.KeyEvent(strings.TrimSpace(string(admin)) + "\r"))
	until(t, "the word is said and shown", func() bool {
		return b.is(`!document.getElementById('say').open && document.getElementById('` + button + `')?.getAttribute('aria-pressed') === 'true'`)
	})
	if b.is(`document.title.includes('owned') || document.querySelectorAll('main script, main img').length > 0`) {
		t.Error("a note became a part of the page")
	}
	until(t, "the focus is back where it was", func() bool { return b.is(`document.activeElement.id === '` + button + `'`) })
	b.picture("feedback-light", "light", 1280)
	b.picture("feedback-narrow", "dark", 390)
	for _, c := range b.complaints() {
		if !strings.Contains(c, "401") { // the token that was none
			t.Errorf("the browser complains: %s", c)
		}
	}

	// An incident of half an hour ago is marked, and the watch learns anew without it; its judging goes on.
	begun := time.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339)
	if out := s.order("change", "declare", "--incident", "--site", "fra", "--what", "the switch", "--id", "inc-1", "--start", begun, "--for", "5m"); !strings.HasPrefix(out, "incident inc-1 of fra until ") {
		t.Errorf("the command says %s", out)
	}
	until(t, "the watch reads its training window again", func() bool {
		return strings.Contains(s.log.String(), "training window is read again")
	})
	judged := s.counter("evenkeel_detect_evaluations_total", `watch="edge-requests"`)
	until(t, "the watch judges on", func() bool {
		return s.counter("evenkeel_detect_evaluations_total", `watch="edge-requests"`) >= judged+2
	})

	// It is counted, and stays.
	counted := func() bool {
		return s.counter("evenkeel_watch_labels", `watch="edge-requests"`, `label="false"`) == 1 && s.counter("evenkeel_episode_labels", `label="true"`) == 1 &&
			s.counter("evenkeel_watch_labels", `watch="edge-requests"`, `label="true"`) == 0
	}
	until(t, "it is counted", counted)
	const anomalous = `evenkeel_detector_state{detector="edge-requests"} == 3`
	until(t, "the alarm is in the store", func() bool { return len(s.query(anomalous)) > 0 })
	s.now.kill()
	s.start(text)
	until(t, "it is counted after the kill", counted)
	var all []struct {
		About, Label, Note, By string
		N                      int
	}
	s.get("/api/v1/feedback?history=true&about="+a.ID, &all)
	if len(all) != 2 || all[0].Label != "false" || all[0].Note != attack || all[1].Label != "true" || all[1].N != 1 {
		t.Errorf("the history is %+v", all)
	}
	if out := s.order("status"); !strings.Contains(out, "watch edge-requests  0     1      0       0.00") {
		t.Errorf("the status says %s", out)
	}
	// This server has not seen the alarm; that there was one, the store knows.
	body := `{"watch":"edge-requests","series":"as somebody calls it","label":"unsure","onset":"`
	until(t, "of an alarm of before the start can be spoken", func() bool {
		status, _ := post(strings.TrimSpace(string(admin)), body+a.Onset.Format(time.RFC3339Nano)+`"}`)
		return status == http.StatusCreated
	})
	if status, answer := post(strings.TrimSpace(string(admin)), body+a.Onset.Add(-20*time.Minute).Format(time.RFC3339)+`"}`); status != http.StatusNotFound {
		t.Errorf("an alarm that never was: %d %s", status, answer)
	}
}
