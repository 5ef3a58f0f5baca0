package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/fs"
)

// A disk that fills up makes the store refuse samples and say so, and one that has room again makes it work.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	free := int64(fs.MustGetFreeSpace(dir))
	slack := min(2<<30, free/4) // what others may take or free on this disk meanwhile
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+filepath.Join(dir, "store"), fmt.Sprint("STORE_TEST_FREE=", free-slack))
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	until := func(append, ready string) {
		t.Helper()
		var last string
		for range 1000 { // ten seconds
			if !lines.Scan() {
				t.Fatalf("the store ended after %q", last)
			}
			last = lines.Text()
			if a, r, _ := strings.Cut(last, "\t"); strings.Contains(a, append) && strings.Contains(r, ready) {
				return
			}
		}
		t.Fatalf("the store goes on saying %q", last)
	}
	until("ok", "ok")
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	must(t, err)
	defer func() { _ = ballast.Close() }()
	must(t, syscall.Fallocate(int(ballast.Fd()), 0, 0, 2*slack))
	until("the store takes no samples", "the store takes no samples (free disk space at the store's directory)")
	must(t, ballast.Truncate(0))
	until("ok", "ok")
}
