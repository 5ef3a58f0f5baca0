package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestADeployIsToldThroughTheAgent: a deploy script tells the agent of its host while the server is away, and the server
// has it once, under the site of the agent's token, when it is back.
func TestADeployIsToldThroughTheAgent(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	s := newServer(t)
	text := config(newExecutor(t))
	s.start(text)
	dir, err := os.MkdirTemp("", "ek") //nolint:usetesting // its path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(s.token("site", "fra")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.stop()
	logs := &safeBuffer{}
	launch(t, logs, binary("evenkeel-agent"), "run", "--site", "fra", "--servers", s.url, "--token-file", token,
		"--data", filepath.Join(dir, "a"), "--health", "", "--otlp", "")
	declare := func(args ...string) (string, error) {
		out, err := exec.Command(binary("evenkeel-agent"), append([]string{"change", "--data", filepath.Join(dir, "a"), "--id", "run-7"}, args...)...).CombinedOutput()
		return string(out), err
	}
	deploy := []string{"--what", "deploy checkout 1.4", "--service", "checkout", "--for", "20m"}
	until(t, "the agent takes the change", func() bool {
		out, err := declare(deploy...)
		return err == nil && strings.HasPrefix(out, "change run-7 until ")
	})
	if out, err := declare("--what", "something else"); err == nil || !strings.Contains(out, "another change has this id") {
		t.Errorf("another change of the same id: %v, %s", err, out)
	}
	s.start(text)
	type change struct {
		ID, Site, Service, What, Source, By string
		Start, End                          time.Time
	}
	var got []change
	until(t, "the server has it", func() bool {
		got = nil
		s.get("/api/v1/changes?active=true", &got)
		return len(got) > 0
	})
	if c := got[0]; len(got) != 1 || c.ID != "run-7" || c.Site != "fra" || c.Service != "checkout" || c.By != "site fra" ||
		c.What != "deploy checkout 1.4" || c.End.Sub(c.Start) != 20*time.Minute {
		t.Errorf("the server has %+v", got)
	}
	if out := s.order("change", "list", "--active"); !strings.Contains(out, "deploy checkout 1.4") {
		t.Errorf("the command lists %s", out)
	}
}

// TestMaintenance: what an operator works at is left alone, dead as it is, and is drained once the operator says that it is over.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	s, w, _, _ := stage(t)
	if out := s.order("change", "declare", "--site", "fra", "--what", "swap the disks", "--id", "work-1", "--maintenance", "--for", "48h"); !strings.HasPrefix(out, "maintenance work-1 of fra until ") {
		t.Errorf("the command says %s", out)
	}
	w.setDown("fra", true)
	var held decision
	until(t, "only the maintenance objects to the drain", func() bool {
		all := s.episodes()
		if len(all) == 0 || all[0].DecisionID == "" {
			return false
		}
		held = decision{}
		s.get("/api/v1/decisions/"+all[0].DecisionID, &held)
		var against []string
		for _, r := range held.Rulings {
			if r.Answer != "pass" {
				against = append(against, r.Guard)
			}
		}
		return len(against) == 1 && against[0] == "maintenance"
	})
	if held.Verdict != "hold" || !strings.Contains(held.Sentence, "fra is under maintenance by admin ") || !strings.Contains(held.Sentence, ": swap the disks") {
		t.Errorf("the decision is %+v", held)
	}
	if all := s.actions(); len(all) != 0 {
		t.Errorf("there are actions: %+v", all)
	}
	if out := s.order("change", "end", "fra", "work-1"); !strings.Contains(out, ", ended by admin ") {
		t.Errorf("the command says %s", out)
	}
	until(t, "fra is drained", func() bool {
		all := s.actions()
		return len(all) == 1 && all[0].State == "succeeded"
	})
}
