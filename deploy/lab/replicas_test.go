package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/lab"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
)

// product is the folder of the server and the agent, as `make build` leaves them.
func product(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("EVENKEEL_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"evenkeel-server", "evenkeel-agent"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%v: build it with `make build`, or name its folder in EVENKEEL_BIN", err)
		}
	}
	return dir
}

// replica is the one that is chosen.
func (b *bench) replica(chosen func(lab.Replica) bool) (lab.Replica, bool) {
	b.t.Helper()
	all := b.status().Replicas
	i := slices.IndexFunc(all, chosen)
	if i < 0 {
		return lab.Replica{}, false
	}
	return all[i], true
}

func (b *bench) named(name string) lab.Replica {
	b.t.Helper()
	r, _ := b.replica(func(r lab.Replica) bool { return r.Name == name })
	return r
}

// leader waits until a replica other than those leads.
func (b *bench) leader(but ...string) (r lab.Replica) {
	b.t.Helper()
	b.until("a replica leads", func() (ok bool) {
		r, ok = b.replica(func(r lab.Replica) bool { return r.Role == lab.Leads && !slices.Contains(but, r.Name) })
		return ok
	})
	return r
}

// told waits until the story has said it after its first n bytes.
func (b *bench) told(n int, what string) {
	b.t.Helper()
	b.within(3*time.Minute, "the story tells: "+what, func() bool { return strings.Contains(b.out.String()[n:], what) })
}

func (b *bench) calm() {
	b.t.Helper()
	b.until("all replicas lead or follow", func() bool {
		_, bad := b.replica(func(r lab.Replica) bool { return r.Role != lab.Leads && r.Role != lab.Follows })
		return !bad
	})
}

func TestThreeReplicas(t *testing.T) {
	dir := product(t)
	data, err := os.MkdirTemp("", "ek-lab-") //nolint:usetesting // a socket lies in it: its path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	b := &bench{t: t, data: filepath.Join(data, "d"), base: freeBase(t)}
	if b.bin, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--replicas", "3", "--listen", "127.0.0.1:" + strconv.Itoa(b.base+529), "--server-bin", filepath.Join(dir, "evenkeel-server"),
		"--agent-bin", filepath.Join(dir, "evenkeel-agent"), "--users-rps", "30",
	}
	b.run(args...)
	b.until("the lab is ready", b.ready)
	for i := range 3 {
		bundle := filepath.Join(b.data, "tokens", fmt.Sprintf("r%d.bundle", i+1))
		if info, err := os.Stat(bundle); i > 0 && (err != nil || info.Mode() != 0o600) || i == 0 && err == nil {
			t.Errorf("%s: %v, %v", bundle, info, err)
		}
	}
	first := b.leader()
	if out := b.out.String(); strings.Count(out, "http://127.0.0.1:") < 4 || !strings.Contains(out, "r3 at waw") {
		t.Errorf("welcome:\n%s", out)
	}
	if out := b.do("status"); !strings.Contains(out, "\n  "+first.Name+"  at "+first.At+"  leads      running  pid ") {
		t.Error(out)
	}
	b.calm()
	b.until("users are served", func() bool { u := b.status().Users; return u != nil && u.OK > 100 })

	// The leader is killed: another leads, and the story goes on there.
	n := len(b.out.String())
	b.do("fault " + first.Name + " kill")
	if r := b.named(first.Name); r.State != supervise.Down || r.Role != "" || r.PID != 0 {
		t.Errorf("a killed replica: %+v", r)
	}
	second := b.leader(first.Name)
	b.told(n, second.Name+" leads")
	b.do("heal " + first.Name)
	b.calm()

	// A site is killed with the leader that stands there: another drains it.
	n = len(b.out.String())
	b.do("fault " + second.At + " kill")
	if r := b.named(second.Name); r.State != supervise.Down {
		t.Errorf("the replica at a killed site: %+v", r)
	}
	b.leader(second.Name)
	b.told(n, "drain of checkout at "+second.At+": succeeded")
	if w := b.status().Weights["checkout"][second.At]; w != 0 {
		t.Errorf("weight %d", w)
	}
	b.do("heal " + second.At)
	b.calm()

	// A leader that is restarted in order hands over at once; one that sleeps is replaced and follows when it wakes.
	third := b.leader()
	pid := third.PID
	b.do("fault " + third.Name + " restart")
	if r := b.named(third.Name); r.PID == pid || r.State != supervise.Running {
		t.Errorf("after a restart: %+v, pid was %d", r, pid)
	}
	b.calm()
	third = b.leader()
	b.do("fault " + third.Name + " pause 60")
	b.leader(third.Name)
	if r := b.named(third.Name); r.State != supervise.Frozen || r.Role != "" {
		t.Errorf("a replica that sleeps: %+v", r)
	}
	b.do("heal " + third.Name)
	b.until("it follows", func() bool { return b.named(third.Name).Role == lab.Follows })

	b.stop()
	b.run(args...)
	b.until("the lab is ready again", b.ready)
	b.calm()
	b.stop()

	// A replica that lost its folder is taken in anew.
	if err := os.RemoveAll(filepath.Join(b.data, "server-r2")); err != nil {
		t.Fatal(err)
	}
	b.run(args...)
	b.until("the lab is ready without the folder of r2", b.ready)
	b.calm()
	b.stop()
	if _, err := os.Stat(filepath.Join(b.data, "server")); !os.IsNotExist(err) {
		t.Errorf("a folder of one server: %v", err)
	}
	out, err := b.program("run", "--data", b.data, "--base-port", strconv.Itoa(b.base), "--no-server").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "holds a lab with --replicas 3: run it so") {
		t.Errorf("one server with the data of three: %v: %s", err, out)
	}
}

func TestReplicasThatCannotBe(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		b := &bench{t: t, data: filepath.Join(t.TempDir(), "d")}
		var err error
		if b.bin, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
		out, err := b.program(append([]string{"run", "--data", b.data, "--server-bin", "/bin/true", "--agent-bin", "/bin/true"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v: %s", args, err, out)
		}
		if _, err := os.Stat(b.data); !os.IsNotExist(err) {
			t.Errorf("%v: a data folder was made: %v", args, err)
		}
	}
	f("choose 1 or 3", "--replicas", "2")
	f("exclude each other", "--replicas", "3", "--no-server")
}

// What one server left is not taken for a replica's.
func TestOneServersDataAreNoReplicas(t *testing.T) {
	data := filepath.Join(t.TempDir(), "d")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "lab.json"), []byte(`{"format":1,"profile":"three"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, data: data}
	var err error
	if b.bin, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		out, err := b.program("run", "--data", data, "--replicas", "3", "--base-port", strconv.Itoa(freeBase(t)),
			"--server-bin", "/bin/true", "--agent-bin", "/bin/true").CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s", err, out)
		}
	}
	refused("holds a lab with --replicas 1: run it so, or remove it")
	// Nor are replicas moved to other ports: each would look for the others where they were.
	if err := os.WriteFile(filepath.Join(data, "lab.json"), []byte(`{"format":1,"profile":"three","replicas":3,"base_port":1234}`), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("holds replicas that reach each other by --base-port 1234: run it so, or remove it")
}
