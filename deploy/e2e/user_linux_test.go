package e2e

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// insideMark marks a run inside a user namespace of its own.
const insideMark = "EVENKEEL_E2E_INSIDE"

// asRoot gives the rest of a test the powers that a Network takes. Root has them. Anybody else runs the test once
// more as root of a user namespace of their own, where the kernel allows that, and the run outside ends with it.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 && os.Getenv(insideMark) == "" {
		return
	}
	if os.Getenv(insideMark) != "" {
		// `ip netns` keeps its names below /run, which belongs to the real root.
		if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := ip("link", "set", "lo", "up"); err != nil {
			t.Fatal(err)
		}
		return
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.count=1", "-test.v=true"}
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.run", "test.count", "test.v", "test.testlogfile", "test.paniconexit0", "test.gocoverdir", "test.coverprofile":
		default:
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), insideMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("as root of a user namespace:\n%s", strings.TrimSpace(string(out)))
	switch {
	case err == nil:
		t.SkipNow() // it has run, inside
	case ExitCode(err) < 0 && len(out) == 0:
		t.Fatalf("network namespaces need root, or a kernel that lets users make namespaces of their own: %v", err)
	default:
		t.Fatal("the run inside has failed")
	}
}
