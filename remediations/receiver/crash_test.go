package receiver_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
)

// executorDir, when set, makes the test binary an executor that keeps everything in that folder.
const executorDir = "EVENKEEL_TEST_EXECUTOR_DIR"

// runExecutor serves until it is killed. Every Apply appends its seq to a file, in one write.
func runExecutor(dir string) error {
	key, err := remediations.ParseSecret(testSecret)
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(filepath.Join(dir, "applied"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	x, err := receiver.New(receiver.Options{
		Secrets: []remediations.Secret{key}, Clusters: []string{"c_1"}, StateFile: filepath.Join(dir, "fence.json"),
		Apply: func(_ context.Context, c receiver.Command) (receiver.State, error) {
			_, err := fmt.Fprintf(journal, "%d\n", c.Seq)
			return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, err
		},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: x, ReadHeaderTimeout: time.Second}
	return s.Serve(l)
}

// post delivers once; status 0 is no answer.
func post(t *testing.T, addr string, r remediations.Request) int {
	t.Helper()
	b, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := remediations.Sign(req.Header, r.ID, time.Now(), b, secret(t, testSecret)); err != nil {
		t.Fatal(err)
	}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// The executor is killed over and over while commands arrive. Whatever it was doing: nothing older than what it ever
// began is applied, and everything it answered done is known afterwards.
func TestKilledExecutorKeepsItsFence(t *testing.T) {
	dir := t.TempDir()
	seq, done := int64(10), int64(0)
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), executorDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("the executor did not start: %v", err)
		}
		addr = strings.TrimSpace(addr)
		if done > 0 {
			if got := post(t, addr, drain("fra", "checkout", done-1, 0)); got != http.StatusConflict {
				t.Errorf("round %d: an older command is answered %d", round, got)
			}
		}
		killed := make(chan struct{})
		go func() {
			time.Sleep(time.Duration(round*3) * time.Millisecond) // anywhere in the work
			_ = cmd.Process.Kill()
			close(killed)
		}()
		for answered := true; answered; {
			seq++
			if answered = post(t, addr, drain("fra", "checkout", seq, int(seq%101))) == http.StatusOK; answered {
				done = seq
			}
		}
		<-killed
		_ = cmd.Wait()
	}
	b, err := os.ReadFile(filepath.Join(dir, "applied"))
	if err != nil {
		t.Fatal(err)
	}
	last, n := int64(0), 0
	for text := range strings.FieldsSeq(string(b)) {
		var s int64
		if _, err := fmt.Sscan(text, &s); err != nil {
			t.Fatal(err)
		}
		if s < last {
			t.Errorf("%d applied after %d", s, last)
		}
		last, n = s, n+1
	}
	t.Logf("%d commands applied over 8 kills", n)
}
