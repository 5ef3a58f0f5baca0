package supervise

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sup(t *testing.T) *Supervisor {
	t.Helper()
	s := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close(10 * time.Second) })
	return s
}

func add(t *testing.T, s *Supervisor, name, script string) *Child {
	t.Helper()
	c, err := s.Add(Spec{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), name+".log")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestAProcessThatDiesIsStartedAgain(t *testing.T) {
	c := add(t, sup(t), "mayfly", "exit 3")
	until(t, "two restarts", func() bool { return c.Status().Restarts >= 2 })
	if got := c.Status().LastExit; got != "exit status 3" {
		t.Errorf("last exit %q", got)
	}
}

func TestKillKeepsDownUntilStart(t *testing.T) {
	c := add(t, sup(t), "victim", "exec sleep 60")
	until(t, "it runs", func() bool { return c.Status().State == Running })
	pid := c.Status().PID
	c.Kill()
	if !gone(pid) || c.Status().State != Down {
		t.Fatalf("pid %d gone %v, state %s", pid, gone(pid), c.Status().State)
	}
	c.Kill() // twice is once
	c.Start()
	until(t, "it runs again", func() bool { return c.Status().State == Running })
	if st := c.Status(); st.PID == pid || st.Restarts != 0 {
		t.Errorf("after the fault: %+v", st)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	c := add(t, sup(t), "statue", "exec sleep 60")
	until(t, "it runs", func() bool { return c.Status().State == Running })
	c.Freeze()
	stat := func() string {
		b, err := os.ReadFile(filepath.Join("/proc", itoa(c.Status().PID), "stat"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(b))[2]
	}
	until(t, "the kernel stopped it", func() bool { return stat() == "T" })
	c.Thaw()
	until(t, "it goes on", func() bool { return stat() != "T" })
	c.Freeze() // Close must end a frozen one
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestRestartIsGraceful(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bye")
	c := add(t, sup(t), "polite", `trap 'echo bye >> `+file+`; exit 0' TERM; touch `+file+`; while :; do sleep 0.02; done`)
	until(t, "the trap is set", func() bool { _, err := os.Stat(file); return err == nil })
	pid := c.Status().PID
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != "bye\n" {
		t.Errorf("it said %q, %v", b, err)
	}
	if st := c.Status(); st.State != Running || st.PID == pid || st.Restarts != 0 {
		t.Errorf("after the restart: %+v", st)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	var pids []int
	for _, script := range []string{"exec sleep 60", "trap '' TERM; while :; do sleep 0.05; done"} {
		c := add(t, s, "p"+itoa(len(pids)), script)
		until(t, "it runs", func() bool { return c.Status().State == Running })
		pids = append(pids, c.Status().PID)
	}
	s.Close(300 * time.Millisecond)
	for _, pid := range pids {
		if !gone(pid) {
			t.Errorf("pid %d is left", pid)
		}
	}
}

func TestAMissingProgramIsSaid(t *testing.T) {
	s := sup(t)
	c, err := s.Add(Spec{Name: "none", Path: "/no/such/program", Log: filepath.Join(t.TempDir(), "none.log")})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the reason", func() bool { return strings.Contains(c.Status().LastExit, "no such file") })
}
