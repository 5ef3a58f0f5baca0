package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// drained waits until the site has been drained for the trouble that began at since, and checks the proof of it:
// one action, one effect, seen at the edge, with every guard on record.
func (w *world) drained(site string, since time.Time) Action {
	w.t.Helper()
	var act Action
	w.until(3*time.Minute, "a drain of "+site+" has ended", func() error {
		list := w.actions("drain", site, since)
		if len(list) == 0 {
			return errors.New("no drain yet")
		}
		act = list[0]
		if !act.Final() {
			return errors.New("it is " + act.State)
		}
		return nil
	})
	if act.State != "succeeded" {
		w.t.Fatalf("drain of %s: %s (%s)", site, act.State, act.Sentence)
	}
	last := act.Steps[len(act.Steps)-1]
	if last.After == nil || !last.After.Known || last.After.Share >= 0.01 {
		w.t.Errorf("drain of %s is not verified at the edge: %s", site, brief(last))
	}
	w.onlyDrain(site, since)
	s := must[LabStatus](w.t)(w.LabStatus(w.t.Context()))
	for _, other := range w.sites {
		want := 100
		if other == site {
			want = 0
		}
		if got := s.Weights["checkout"][other]; got != want {
			w.t.Errorf("after the drain of %s the weight of %s is %d, want %d", site, other, got, want)
		}
	}
	d := must[Decision](w.t)(w.Decision(w.t.Context(), act.DecisionID))
	if d.Verdict != "act" || d.ActionID != act.ID || len(d.Objections()) > 0 {
		w.t.Errorf("the decision behind the drain: %s with %s", d.Verdict, brief(d.Objections()))
	}
	wantAllRulings(w.t, d)
	w.step("%s: %s; %s", act.Sentence, last.Sentence, d.Sentence)
	w.until(3*time.Minute, "users are served again", func() error {
		s, err := w.LabStatus(w.t.Context())
		if err == nil && (s.Users == nil || s.Users.Success == nil || *s.Users.Success < 0.99) {
			err = fmt.Errorf("users: %s", brief(s.Users))
		}
		return err
	})
	return act
}

// onlyDrain checks that there was exactly one drain of the site and one effect.
func (w *world) onlyDrain(site string, since time.Time) {
	w.t.Helper()
	if n := len(w.actions("drain", site, since)); n != 1 {
		w.t.Errorf("%d drains of %s, want 1", n, site)
	}
	effects := 0
	for _, e := range w.executed("drain", site, since) {
		if e.Effective {
			effects++
		}
	}
	if effects != 1 {
		w.t.Errorf("%d effective drains of %s, want 1: %s", effects, site, brief(w.executed("", site, since)))
	}
}

// restored waits until users are sent to the healed site as before.
func (w *world) restored(site string, since time.Time) {
	w.t.Helper()
	w.until(3*time.Minute, site+" is restored", func() error {
		list := w.actions("restore", site, since)
		if len(list) == 0 {
			return errors.New("no restore yet")
		}
		act := list[len(list)-1]
		switch {
		case act.State == "succeeded":
			return nil
		case act.Final():
			w.t.Fatalf("restore of %s: %s (%s)", site, act.State, act.Sentence)
		}
		return errors.New("it is " + act.State)
	})
	s := must[LabStatus](w.t)(w.LabStatus(w.t.Context()))
	if got := s.Weights["checkout"][site]; got != 100 {
		w.t.Errorf("%s is restored with weight %d", site, got)
	}
	w.onlyDrain(site, since)
}

// closed waits until the episode is over.
func (w *world) closed(id string) {
	w.t.Helper()
	w.until(3*time.Minute, "the episode is closed", func() error {
		ep, err := w.Episode(w.t.Context(), id)
		if err == nil && ep.ClosedAt == nil {
			err = errors.New(ep.Sentence)
		}
		return err
	})
}

// TestBrokenSites: with the holds of a lab, each way in which a site can die is drained once, proven at the edge,
// and undone after the repair. Between them the server is killed, and an executor lies.
func TestBrokenSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, LabOptions{})
	w.refusesASecondLab()
	var episodes []string
	for _, f := range []struct{ site, kind string }{{"fra", "kill"}, {"ams", "kill-service"}, {"waw", "edge"}} {
		since := time.Now()
		w.fault(f.site, f.kind)
		act := w.drained(f.site, since)
		w.heal(f.site)
		w.restored(f.site, since)
		episodes = append(episodes, act.EpisodeID)
		if f.kind == "kill-service" {
			w.survivesTheServersDeath()
		}
	}
	for _, id := range episodes {
		w.closed(id)
	}
	w.catchesALiar("fra")
}

// catchesALiar: an executor says done about a dead site and does nothing. The edge is believed, people are paged,
// and the drain is not repeated.
func (w *world) catchesALiar(site string) {
	w.t.Helper()
	since := time.Now()
	w.fault(site, "lying")
	w.fault(site, "kill")
	var act Action
	w.until(3*time.Minute, "the drain ends", func() error {
		list := w.actions("drain", site, since)
		if len(list) == 0 || !list[0].Final() {
			return fmt.Errorf("drains: %s", brief(list))
		}
		act = list[0]
		return nil
	})
	if act.State != "ineffective" {
		w.t.Errorf("a drain that changed nothing is called %s: %s", act.State, act.Sentence)
	}
	w.step("%s; %s", act.Sentence, act.Steps[0].Sentence)
	w.until(time.Minute, "people are paged", func() error {
		notices, err := w.Notices(w.t.Context(), act.EpisodeID)
		if err != nil {
			return err
		}
		for _, n := range notices {
			if n.Kind != "resolve" && strings.Contains(n.Summary, "ineffective") {
				w.step("page (%s, %s): %s", n.Kind, n.Severity, n.Summary)
				return nil
			}
		}
		return fmt.Errorf("notices: %s", brief(notices))
	})
	const watch = 20 * time.Second
	for end := time.Now().Add(watch); time.Now().Before(end); time.Sleep(time.Second) {
		if n := len(w.actions("", site, since)); n != 1 {
			w.t.Fatalf("%d actions at %s after one that was ineffective: it was repeated", n, site)
		}
	}
	told := w.executed("", site, since)
	if len(told) != 1 || told[0].Effective || !told[0].Lying {
		w.t.Errorf("the executor was told %s, want one command without an effect", brief(told))
	}
	w.heal(site)
}

// survivesTheServersDeath: the supervisor starts a killed server again, and the loop goes on: the next fault of the
// test is drained as ever.
func (w *world) survivesTheServersDeath() {
	w.t.Helper()
	server := func() (pid, restarts int) {
		s := must[LabStatus](w.t)(w.LabStatus(w.t.Context()))
		for _, p := range s.Processes {
			if p.Name == "server" {
				return p.PID, p.Restarts
			}
		}
		w.t.Fatal("the lab has no server")
		return 0, 0
	}
	pid, before := server()
	w.step("kill -9 of the server, pid %d", pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.until(3*time.Minute, "the server is started again", func() error {
		now, restarts := server()
		if now == pid || now == 0 || restarts != before+1 {
			return fmt.Errorf("pid %d, %d restarts", now, restarts)
		}
		return w.Ready(w.t.Context())
	})
	if err := w.Calm(w.t.Context(), 3*time.Minute); err != nil {
		w.t.Error(err)
	}
}

// refusesASecondLab: a second copy with the same data, and one with the same ports, say so and how to help it.
func (w *world) refusesASecondLab() {
	w.t.Helper()
	p := programs(w.t)
	run := func(data string, base int, listen string) string {
		cmd := exec.CommandContext(w.t.Context(), p.Lab, "run", "--data", data, "--base-port", strconv.Itoa(base), "--listen", listen,
			"--server-bin", p.Server, "--agent-bin", p.Agent)
		out, err := cmd.CombinedOutput()
		if ExitCode(err) <= 0 {
			w.t.Errorf("a second lab ended with %v", err)
		}
		return string(out)
	}
	wantWords(w.t, run(w.Data, w.Ports.Base, w.Ports.Addr(590)), "already runs", "--data")
	other := folder(w.t)
	wantWords(w.t, run(filepath.Join(other, "d"), w.Ports.Base, w.Ports.Addr(591)), "--base-port")
	free := must[*Ports](w.t)(ClaimPorts())
	defer free.Release()
	wantWords(w.t, run(filepath.Join(other, "e"), free.Base, w.Ports.Addr(590)), "--listen")
	if left := must[[]int](w.t)(Left(other)); len(left) > 0 {
		w.t.Errorf("processes %v are left of a lab that did not start", left)
	}
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	if i := slices.IndexFunc(words, func(word string) bool { return !strings.Contains(text, word) }); i >= 0 {
		t.Errorf("want %q in:\n%s", words[i], text)
	}
}
