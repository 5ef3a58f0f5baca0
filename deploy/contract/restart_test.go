package contract

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestARestartKeepsWhatWasTold: tokens, episodes, the story and samples are there in the next life, after an orderly end
// and after a kill.
func TestARestartKeepsWhatWasTold(t *testing.T) {
	t.Parallel()
	s, w, _, text := stage(t)
	w.setDown("fra", true)
	until(t, "fra is drained", func() bool {
		all := s.actions()
		return len(all) > 0 && all[0].State == "succeeded"
	})
	before := s.episodes()[0]
	spare := s.token("edge", "spare")
	admin := readFile(t, filepath.Join(s.data, "admin.token"))
	written := s.query(`count_over_time(evenkeel_edge_requests_total{target_site="fra",code_class="2xx"}[10m])`)[0].value()

	for _, end := range []string{"SIGTERM", "SIGKILL"} {
		if end == "SIGTERM" {
			s.stop()
		} else {
			// What was acknowledged less than two seconds before a kill may be lost: the contract says so.
			s.now.kill()
		}
		s.start(text)
		if got := readFile(t, filepath.Join(s.data, "admin.token")); got != admin {
			t.Errorf("%s: the admin token is another one", end)
		}
		if out := s.order("token", "list"); !strings.Contains(out, "spare") || strings.Count(out, "\n") != 7 {
			t.Errorf("%s: the tokens are\n%s", end, out)
		}
		status, answer, err := s.post("/v1/metrics", spare, export("spare-agent", gauge("contract.alive", "", gaugePoint(time.Now(), 1, nil))))
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: an old token is answered %d %s %v", end, status, answer, err)
		}
		all := s.episodes()
		if len(all) != 1 || all[0].ID != before.ID || all[0].ClosedAt != nil || len(all[0].ActionIDs) != len(before.ActionIDs) {
			t.Errorf("%s: the episodes are %+v, want %+v", end, all, before)
		}
		if got := s.query(`count_over_time(evenkeel_edge_requests_total{target_site="fra",code_class="2xx"}[10m])`); len(got) != 1 || got[0].value() < written-4 {
			t.Errorf("%s: of %g samples there are %v", end, written, got)
		}
		until(t, end+": fra is still known to fail, and drained", func() bool {
			return s.condition("fra").Condition == "failing" && s.condition("ams").Condition == "healthy"
		})
		if n := len(s.actions()); n != 1 {
			t.Errorf("%s: there are %d actions, the drain was done before", end, n)
		}
	}
	w.setDown("fra", false)
	until(t, "the third life brings fra back", func() bool {
		all := s.episodes()
		return len(all) == 1 && all[0].ClosedAt != nil
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestMistakesOfTheOperatorAreSaid: what is wrong, where, and what to do, in the words and exit codes of the program.
func TestMistakesOfTheOperatorAreSaid(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start("lab: true\n")

	fails := func(what string, code int, second *server, config string, says ...string) {
		t.Helper()
		out := &safeBuffer{}
		p := launch(t, out, binary("evenkeel-server"), second.args(config)...)
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatalf("%s: the program goes on:\n%s", what, out)
		}
		if p.exitCode() != code {
			t.Errorf("%s: exit code %d, want %d", what, p.exitCode(), code)
		}
		for _, say := range says {
			if !strings.Contains(out.String(), say) {
				t.Errorf("%s: it does not say %q:\n%s", what, say, out)
			}
		}
		if strings.Contains(out.String(), "panic") || strings.Contains(out.String(), "goroutine ") {
			t.Errorf("%s: it panics:\n%s", what, out)
		}
	}

	copied := newServer(t)
	copied.data = s.data
	fails("a second copy on the data", 3, copied, "lab: true\n", "evenkeel-server: ", "in use", s.data)
	taken := newServer(t)
	taken.addr = s.addr
	fails("a taken port", 5, taken, "lab: true\n", "the address "+s.addr+" cannot be listened on", "--listen")
	if _, err := os.Stat(taken.data); err == nil {
		t.Error("a taken port: the data directory was made all the same")
	}
	bad := "sites:\n  - {name: fra, time_zone: Europe/Nowhere}\n  - {name: fra}\nservice: []\npolicies:\n  - {name: p, when: {condition: broken}, plan: drain}\n"
	fails("a file with mistakes", 2, newServer(t), bad, "evenkeel.yaml:4:1", "service", "evenkeel.yaml:6:33", "broken")
	bad = strings.ReplaceAll(strings.ReplaceAll(bad, "service: []\n", ""), "broken", "failing")
	fails("a file with other mistakes", 2, newServer(t), bad, "evenkeel.yaml:2:28", "Europe/Nowhere", "evenkeel.yaml:3:12", "plan")

	missing := newServer(t)
	args := missing.args("")
	args[2] = filepath.Join(t.TempDir(), "nothing.yaml")
	out := &safeBuffer{}
	p := launch(t, out, binary("evenkeel-server"), args...)
	<-p.done
	if p.exitCode() != 2 || !strings.Contains(out.String(), "the configuration cannot be read") || !strings.Contains(out.String(), "--config") {
		t.Errorf("a missing file: exit code %d: %s", p.exitCode(), out)
	}

	if status, text, err := s.fetch("/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("the first copy suffers: %s", fmt.Sprint(status, text, err))
	}
	s.stop()
	copied.start("lab: true\n") // what was in use is free again
}
