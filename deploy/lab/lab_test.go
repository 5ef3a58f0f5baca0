package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/lab"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
	"github.com/evenkeel/evenkeel/remediations"
)

// bench is a lab as an operator has it: a program, a folder and a terminal.
type bench struct {
	t    *testing.T
	bin  string
	data string
	base int
	cmd  *exec.Cmd
	out  *terminal
	done chan error
}

// terminal is what the program wrote; it can be read while it is written.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *terminal) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *terminal) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// asProgram is the variable that makes the test binary the program; children of the lab inherit it.
const asProgram = "EVENKEEL_LAB_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is the lab's program with arguments.
func (b *bench) program(args ...string) *exec.Cmd {
	cmd := exec.Command(b.bin, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// newBench runs the program without a server until it is ready.
func newBench(t *testing.T, args ...string) *bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, bin: self, data: filepath.Join(t.TempDir(), "d"), base: freeBase(t)}
	b.run(append([]string{"--no-server"}, args...)...)
	b.until("the lab is ready", b.ready)
	return b
}

// run starts the program with the bench's data and ports.
func (b *bench) run(args ...string) {
	b.t.Helper()
	b.out, b.done = &terminal{}, make(chan error, 1)
	cmd := b.program(append([]string{"run", "--data", b.data, "--base-port", strconv.Itoa(b.base)}, args...)...)
	cmd.Stdout, cmd.Stderr = b.out, b.out
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.cmd = cmd
	done := b.done
	go func() { done <- cmd.Wait() }()
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		b.until("no process is left", func() bool { return len(b.left()) == 0 })
	})
}

func (b *bench) ready() bool {
	s, err := b.tryStatus()
	return err == nil && s.Ready
}

// stop ends the lab as Ctrl-C does; nothing may be left of it.
func (b *bench) stop() {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	if err := <-b.done; err != nil {
		b.t.Errorf("exit: %v\n%s", err, b.out)
	}
	if left := b.left(); len(left) > 0 {
		b.t.Errorf("processes %v are left", left)
	}
}

// freeBase is a base port below the ephemeral range with nobody around it.
func freeBase(t *testing.T) int {
	t.Helper()
next:
	for range 50 {
		base := 20000 + 10*rand.IntN(1100)
		for offset := range 530 {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+offset))
			if err != nil {
				continue next
			}
			_ = ln.Close()
		}
		return base
	}
	t.Fatal("no free ports")
	return 0
}

// left are the pids of processes that belong to this lab.
func (b *bench) left() []int {
	var out []int
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range dirs {
		raw, err := os.ReadFile(d)
		if err != nil || !bytes.Contains(raw, []byte(b.data+"\x00")) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(d, "/")[2])
		out = append(out, pid)
	}
	return out
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	b.within(2*time.Minute, what, ok) // it happens at all
}

func (b *bench) within(patience time.Duration, what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("not within %s: %s\n%s", patience, what, b.out)
}

// cli runs one command line against the lab, in this process; the error carries what it printed.
func (b *bench) cli(args ...string) (string, error) {
	var out, errOut bytes.Buffer
	if err := command(b.t.Context(), append(args, "--data", b.data), &out, &errOut); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errOut.String())
	}
	return out.String(), nil
}

func (b *bench) do(line string) string {
	b.t.Helper()
	out, err := b.cli(strings.Fields(line)...)
	if err != nil {
		b.t.Fatalf("%s: %v", line, err)
	}
	return out
}

func (b *bench) tryStatus() (lab.Status, error) {
	var s lab.Status
	out, err := b.cli("status", "--json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

func (b *bench) status() lab.Status {
	b.t.Helper()
	s, err := b.tryStatus()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) process(name string) supervise.Status {
	b.t.Helper()
	s := b.status()
	i := slices.IndexFunc(s.Processes, func(p supervise.Status) bool { return p.Name == name })
	if i < 0 {
		b.t.Fatalf("no process %s", name)
	}
	return s.Processes[i]
}

// ask sends one request without a kept connection; status 0 is no answer.
func (b *bench) ask(method, addr, path string, patience time.Duration) (status int, took time.Duration) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, time.Since(began)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, time.Since(began)
}

func (b *bench) healthy(addr string) bool {
	status, _ := b.ask(http.MethodGet, addr, "/healthz", 2*time.Second)
	return status == http.StatusOK
}

// cables are the cables with something on them.
func (b *bench) cables() string {
	b.t.Helper()
	var out []string
	for name, mode := range b.status().Cables {
		out = append(out, name+"="+mode)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (b *bench) wantCables(want string) {
	b.t.Helper()
	if got := b.cables(); got != want {
		b.t.Errorf("cables:\n got %s\nwant %s", got, want)
	}
}

func TestEveryFaultBreaksAndHeals(t *testing.T) {
	b := newBench(t, "--users-rps", "30")
	l := b.status().Layout
	fra := l.Shop("fra")
	mended := func() {
		t.Helper()
		b.do("heal")
		b.wantCables("")
		b.until("all sites are healthy", func() bool {
			return len(b.status().Faults) == 0 && b.healthy(fra) && b.healthy(l.Shop("ams")) && b.healthy(l.Shop("waw"))
		})
	}

	t.Run("kill", func(t *testing.T) {
		b.t = t
		old := b.process("shop-fra").PID
		if out := b.do("fault fra kill"); !strings.Contains(out, "unix ns ") {
			t.Errorf("no time in %q", out)
		}
		for _, p := range []string{"shop-fra", "nats-fra"} {
			if st := b.process(p); st.State != supervise.Down || st.PID != 0 {
				t.Errorf("%+v", st)
			}
		}
		if syscall.Kill(old, 0) == nil {
			t.Errorf("pid %d is alive", old)
		}
		b.until("from outside it is a refusal", func() bool {
			_, err := net.DialTimeout("tcp", l.Edge("probe", "ams", "fra"), time.Second)
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		mended()
	})
	t.Run("kill-service", func(t *testing.T) {
		b.t = t
		b.do("fault fra kill-service")
		if b.process("shop-fra").State != supervise.Down || b.process("nats-fra").State != supervise.Running {
			t.Error("want the shop down and NATS alive")
		}
		mended()
	})
	t.Run("edge", func(t *testing.T) {
		b.t = t
		b.do("fault fra edge")
		b.wantCables("probe:ams>fra=cut probe:waw>fra=cut users:director>fra=cut")
		b.until("inside it is alive", func() bool { return b.healthy(fra) })
		if status, took := b.ask(http.MethodGet, l.Edge("probe", "ams", "fra"), "/healthz", 500*time.Millisecond); status != 0 || took < 400*time.Millisecond {
			t.Errorf("from outside: %d after %s", status, took)
		}
		mended()
	})
	t.Run("uplink", func(t *testing.T) {
		b.t = t
		b.do("fault all uplink")
		b.wantCables("uplink:ams>server=cut uplink:fra>server=cut uplink:waw>server=cut")
		mended()
	})
	t.Run("link", func(t *testing.T) {
		b.t = t
		b.do("fault fra link ams")
		b.wantCables("bus:ams>fra=cut bus:fra>ams=cut probe:ams>fra=cut probe:fra>ams=cut")
		b.do("heal ams")
		b.do("fault fra link ams --one-way")
		b.wantCables("bus:fra>ams=one-way probe:fra>ams=one-way")
		mended()
	})
	t.Run("slow", func(t *testing.T) {
		b.t = t
		b.do("fault fra slow 300ms")
		b.until("an order is taken", func() bool { // a shop has half a second to write it
			status, took := b.ask(http.MethodPost, fra, "/checkout", time.Minute)
			if status == 200 && took < 300*time.Millisecond {
				t.Errorf("it is taken after %s", took)
			}
			return status == 200
		})
		mended()
	})
	t.Run("errors", func(t *testing.T) {
		b.t = t
		b.do("fault all errors 100")
		if status, _ := b.ask(http.MethodPost, fra, "/checkout", time.Minute); status != 500 {
			t.Errorf("an order got %d", status)
		}
		b.until("the health check tells its own truth", func() bool { return b.healthy(fra) })
		mended()
	})
	t.Run("pause", func(t *testing.T) {
		b.t = t
		pid := b.process("shop-fra").PID
		b.do("fault fra pause 60")
		if st := b.process("nats-fra"); st.State != supervise.Frozen {
			t.Errorf("%+v", st)
		}
		if status, _ := b.ask(http.MethodGet, fra, "/healthz", 200*time.Millisecond); status != 0 {
			t.Errorf("a frozen shop answered %d", status)
		}
		mended()
		b.do("fault fra pause 0.3")
		b.until("it goes on by itself", func() bool { return len(b.status().Faults) == 0 && b.healthy(fra) })
		if st := b.process("shop-fra"); st.PID != pid {
			t.Error("it was restarted")
		}
	})
	t.Run("reload and restart", func(t *testing.T) {
		b.t = t
		pid := b.process("shop-fra").PID
		b.do("fault fra reload")
		b.until("it serves again", func() bool { return b.healthy(fra) })
		if st := b.process("shop-fra"); st.PID != pid || st.Restarts != 0 {
			t.Errorf("after a reload: %+v, pid was %d", st, pid)
		}
		b.do("fault all restart")
		if st := b.process("shop-fra"); st.PID == pid || st.Restarts != 0 {
			t.Errorf("after a restart: %+v", st)
		}
		b.until("it serves after a restart", func() bool { return b.healthy(fra) })
	})
	t.Run("loss for a time", func(t *testing.T) {
		b.t = t
		b.do("fault waw loss --for 300ms")
		b.until("it is mended by itself", func() bool { return b.cables() == "" })
		b.until("that is on record", func() bool { // it is written once the cables are mended
			raw, err := os.ReadFile(filepath.Join(b.data, "faults.jsonl"))
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			last := lines[len(lines)-1]
			return err == nil && strings.Contains(last, `"event":"end"`) && strings.Contains(last, `"kind":"loss"`)
		})
	})
	t.Run("lag", func(t *testing.T) {
		b.t = t
		state := func(want string) func() bool {
			return func() bool {
				n := 0
				for _, link := range b.status().Links {
					if strings.HasSuffix(link.Link, ">fra") && link.State == want {
						n++
					}
				}
				return n == 2
			}
		}
		b.until("copies are up to date", state("caught_up"))
		b.do("fault fra lag")
		b.until("the applier is stopped", state("applier_stopped"))
		mended()
		b.until("copies are up to date again", state("caught_up"))
		b.do("load 200")
		b.do("fault fra lag 1")
		b.until("copies fall behind", state("catching_up"))
		mended()
		b.do("load 60")
		b.until("copies are up to date again", state("caught_up"))
	})
	t.Run("lying", func(t *testing.T) {
		b.t = t
		b.do("fault fra lying")
		b.drain("fra", 1)
		if s := b.status(); s.Weights["checkout"]["fra"] != 100 || s.Executed[0].Effective {
			t.Errorf("weights %v, executed %+v", s.Weights, s.Executed)
		}
		mended()
		b.drain("fra", 2)
		if s := b.status(); s.Weights["checkout"]["fra"] != 0 || !s.Executed[1].Effective {
			t.Errorf("weights %v, executed %+v", s.Weights, s.Executed)
		}
	})
	t.Run("users", func(t *testing.T) {
		b.t = t
		b.until("users are served", func() bool {
			u := b.status().Users
			return u != nil && u.OK > 0 && u.Success != nil && u.P50MS != nil
		})
		if out := b.do("status"); !strings.Contains(out, "success over 10 s") {
			t.Error(out)
		}
	})
}

// drain sends a signed command as the server would.
func (b *bench) drain(site string, seq int64) {
	b.t.Helper()
	key, err := os.ReadFile(filepath.Join(b.data, "director.key"))
	if err != nil {
		b.t.Fatal(err)
	}
	secret, err := remediations.ParseSecret(string(key))
	if err != nil {
		b.t.Fatal(err)
	}
	r := remediations.Request{ID: fmt.Sprintf("act_%d_1", seq), Type: remediations.TypeDrain, At: time.Now(), Data: remediations.Data{
		ActionID: fmt.Sprintf("act_%d", seq), EpisodeID: "ep_1", Site: site, Service: "checkout", DesiredState: remediations.DesiredDrained,
		Seq: seq, Fencing: remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: seq}, NotBefore: time.Now(),
		NotAfter: time.Now().Add(time.Minute), Step: remediations.Step{N: 1, Of: 1},
	}}
	raw, err := r.Body()
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
		fmt.Sprintf("http://127.0.0.1:%d/hooks/evenkeel", b.base), bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := remediations.Sign(req.Header, r.ID, time.Now(), raw, secret); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s", resp.Status, answer)
	}
}

func TestTheLabLeavesNothingBehindAndTakesNothingTwice(t *testing.T) {
	b := newBench(t, "--profile", "two")
	if _, err := b.cli("fault", "lon", "slow"); err == nil || !strings.Contains(err.Error(), "witness") {
		t.Errorf("a slow witness: %v", err)
	}
	second := func(args ...string) string {
		out, err := b.program(append([]string{"run", "--no-server", "--data", b.data}, args...)...).CombinedOutput()
		if err == nil {
			t.Fatalf("%v: started", args)
		}
		return string(out)
	}
	if got := second("--profile", "two"); !strings.Contains(got, "a lab already runs") || !strings.Contains(got, "choose another --data") {
		t.Error(got)
	}
	cmd := b.program("run", "--no-server", "--data", filepath.Join(b.t.TempDir(), "o"), "--base-port", strconv.Itoa(b.base))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "choose another --base-port") {
		t.Errorf("%v: %s", err, out)
	}

	b.do("fault fra pause 60") // a frozen process must not keep the lab from ending
	b.stop()
	if got := second("--profile", "three", "--base-port", strconv.Itoa(b.base)); !strings.Contains(got, "profile two") || !strings.Contains(got, "rm -r") {
		t.Error(got)
	}
	if _, err := b.cli("status"); err == nil || !strings.Contains(err.Error(), "no lab runs") {
		t.Errorf("status without a lab: %v", err)
	}
}

func TestChildrenDieWithAKilledLab(t *testing.T) {
	b := newBench(t, "--quiet")
	if n := len(b.left()); n != 8 {
		t.Errorf("%d processes, want the lab, three shops, three NATS and the director", n)
	}
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.until("the kernel ended the children", func() bool { return len(b.left()) == 0 })
}

func TestConfigIsPrinted(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), []string{"config", "--profile", "two", "--shipped-holds"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "witnesses:") || strings.Contains(out.String(), "lab: true") {
		t.Error(out.String())
	}
}

func TestAServerThatCannotStartIsSaid(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, bin: self, data: filepath.Join(t.TempDir(), "d")}
	base := strconv.Itoa(freeBase(t))
	out, err := b.program("run", "--data", b.data, "--base-port", base, "--listen", "127.0.0.1:"+strconv.Itoa(freeBase(t)),
		"--server-bin", "/bin/false", "--agent-bin", "/bin/true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the server ends again and again (exit status 1)") {
		t.Errorf("%v: %s", err, out)
	}
	if left := b.left(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	out, err = b.program("run", "--data", b.data, "--base-port", base, "--server-bin", "/no/such").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "make build") || !strings.Contains(string(out), "--no-server") {
		t.Errorf("%v: %s", err, out)
	}
}
