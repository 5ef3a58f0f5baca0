package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBacktest: a running server's past is judged by the configuration that it runs with, which finds the alarm that the server raised, and by
// another one, which does not. What is marked as an incident is no false alarm any more.
func TestBacktest(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	s, w, text := watched(t, watches)
	w.setSurge("fra", 12)
	var alarms []struct {
		ID, Series string
		Onset      time.Time
	}
	until(t, "there is an alarm", func() bool {
		alarms = nil
		s.get("/api/v1/alarms", &alarms)
		return len(alarms) > 0
	})

	type watch struct {
		Watch, Model, Error string
		Series              int
		FalseAlarms         int `json:"false_alarms"`
		Known               int `json:"known_alarms"`
		Rate                *float64
		Incidents           []struct{ Met bool }
		Alarms              []struct {
			At            time.Time
			Series, Known string
		}
		Others     []watch
		Suggestion *struct {
			Settings []string
			Why      string
		}
	}
	backtest := func(config string, args ...string) (got []watch) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "proposed.yaml")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary("evenkeel-server"), append([]string{"backtest", "--config", path, "--server", s.url, "--days", "0.01", "--output", "json"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var report struct{ Watches []watch }
		if err == nil {
			err = json.Unmarshal(out, &report)
		}
		if err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr.String())
		}
		return report.Watches
	}
	got := backtest(text)
	if len(got) != 1 || got[0].Series < 2 || got[0].FalseAlarms != 1 || got[0].Known != 0 || got[0].Rate == nil ||
		len(got[0].Alarms) != 1 || got[0].Alarms[0].Series != alarms[0].Series || !got[0].Alarms[0].At.Equal(alarms[0].Onset) {
		t.Errorf("backtest %+v, the server's alarms %+v", got, alarms)
	}
	if got := backtest(strings.Replace(text, "direction: above", "direction: below", 1)); got[0].FalseAlarms != 0 {
		t.Errorf("backtest of the other direction %+v", got)
	}
	if got := backtest(text, "--suggest", "--watch", "edge-requests"); len(got[0].Others) < 10 || got[0].Suggestion == nil || got[0].Suggestion.Why == "" {
		t.Errorf("backtest with suggestions %+v", got)
	}

	s.order("feedback", "give", "true", "--alarm", alarms[0].ID)
	if got := backtest(text); got[0].FalseAlarms != 0 || got[0].Alarms[0].Known != "right" {
		t.Errorf("backtest of an alarm that was right %+v", got)
	}
	begun := alarms[0].Onset.Add(-time.Minute).UTC().Format(time.RFC3339)
	until(t, "what is marked is over", func() bool { return time.Since(alarms[0].Onset) > 3*time.Second })
	s.order("change", "declare", "--incident", "--site", "fra", "--what", "the switch", "--start", begun, "--for", "62s")
	until(t, "the incident is on record", func() bool {
		got = backtest(text)
		return len(got[0].Incidents) == 1
	})
	if got[0].FalseAlarms != 0 || got[0].Known != 1 || got[0].Alarms[0].Known != "right" || !got[0].Incidents[0].Met {
		t.Errorf("backtest with the incident %+v", got)
	}
	out, err := exec.Command(binary("evenkeel-server"), "backtest", "--config", filepath.Join(t.TempDir(), "none.yaml"), "--server", s.url).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "none.yaml") {
		t.Errorf("without a file: %v, %s", err, out)
	}
}
