package lab

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command without --data goes to the lab that runs, whatever its folder is called, and to none when several do.
func TestFindClient(t *testing.T) {
	t.Chdir(t.TempDir())
	find := func() string {
		t.Helper()
		c, err := FindClient("")
		if err != nil {
			return err.Error()
		}
		return filepath.Base(string(c.folder))
	}
	listen := func(name string) net.Listener {
		t.Helper()
		dir := filepath.Join("data", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "lab.sock"))
		if err != nil {
			t.Fatal(err)
		}
		ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed lab leaves it
		return ln
	}
	if got := find(); got != "lab" {
		t.Errorf("no lab: %s", got)
	}
	one := listen("lab")
	if got := find(); got != "lab" {
		t.Errorf("one: %s", got)
	}
	three := listen("lab-3")
	if got := find(); !strings.Contains(got, "data/lab or --data data/lab-3") {
		t.Errorf("two: %s", got)
	}
	_ = one.Close()
	if got := find(); got != "lab-3" {
		t.Errorf("the socket of a dead lab is in the way: %s", got)
	}
	_ = three.Close()
	if c, err := FindClient("elsewhere"); err != nil || filepath.Base(string(c.folder)) != "elsewhere" {
		t.Errorf("named: %v, %v", c, err)
	}
}
