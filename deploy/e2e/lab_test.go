package e2e

import (
	"errors"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestTheLabSaysWhatIsInItsWay: ports that others have, and data of another profile, end a start with a sentence that
// says what to do; an interrupt ends everything, also what is frozen.
func TestTheLabSaysWhatIsInItsWay(t *testing.T) {
	t.Parallel()
	p, dir := programs(t), folder(t)
	ports := must[*Ports](t)(ClaimPorts())
	defer ports.Release()
	start := func(data, profile string, more ...string) *Process {
		t.Helper()
		return must[*Process](t)(StartProcess(p.Lab, append([]string{
			"run", "--data", filepath.Join(dir, data), "--profile", profile, "--base-port", strconv.Itoa(ports.Base),
			"--listen", ports.Addr(590), "--server-bin", p.Server, "--agent-bin", p.Agent,
		}, more...)...))
	}
	fails := func(process *Process, words ...string) {
		t.Helper()
		if err := process.Wait(time.Minute); ExitCode(err) <= 0 {
			t.Errorf("it ended with %v", err)
		}
		wantWords(t, process.Output(), words...)
	}

	for _, f := range []struct {
		port   int
		remedy string
	}{{0, "--base-port"}, {100, "--base-port"}, {590, "--listen"}} {
		foreign, err := listen(ports.Base + f.port)
		if err != nil {
			t.Fatal(err)
		}
		fails(start("taken", "three"), strconv.Itoa(ports.Base+f.port), f.remedy)
		_ = foreign.Close()
	}
	fails(start("nowhere", "four"), "three or two")

	lab := &Lab{Data: filepath.Join(dir, "two"), Ports: ports, o: LabOptions{Programs: p}, Process: start("two", "two", "--no-server")}
	t.Cleanup(func() { _ = lab.Kill() })
	if err := Until(time.Minute, "the lab is ready", func() error {
		s, err := lab.LabStatus(t.Context())
		if err == nil && !s.Ready {
			err = errors.New("it is starting")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Fault(t.Context(), "fra", "pause", "60"); err != nil {
		t.Fatal(err)
	}
	fails(start("two", "two", "--no-server"), "already runs", "--data")
	if err := lab.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := lab.Process.Wait(30 * time.Second); err != nil {
		t.Errorf("an interrupted lab ended with %v:\n%s", err, lab.Process.Output())
	}
	fails(start("two", "three", "--no-server"), "profile two", "rm -r")
	if left := must[[]int](t)(Left(dir)); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}
