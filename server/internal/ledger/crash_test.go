package ledger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const childDir = "EVENKEEL_LEDGER_TEST_CHILD"

// child commits for ever and says so after each commit. Every commit holds a line, an intent and an
// episode, so that half a commit would be seen.
func child(dir string) int {
	ctx := context.Background()
	l, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	start, err := l.Lines(ctx, 0, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for n := len(start); ; n++ {
		id := strconv.Itoa(n)
		rev, err := l.Commit(ctx, []core.Change{
			{Line: &core.Line{Sentence: id}},
			{Intent: &core.Intent{ID: id, ActionID: "act"}},
			{Episode: &core.Episode{ID: "ep", Sentence: id}},
			{Action: &core.Action{ID: "act", State: core.ActionRunning}},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(n, rev)
	}
}

func TestAcknowledgedCommitsSurviveSIGKILL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	acked := map[int]int64{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed at a random moment after some acknowledgement; whatever it said before is read to the end.
		kill := 5 + rand.IntN(150)
		seen := 0
		for s := bufio.NewScanner(out); s.Scan(); seen++ {
			a, b, _ := strings.Cut(s.Text(), " ")
			n, err1 := strconv.Atoi(a)
			rev, err2 := strconv.ParseInt(b, 10, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("child said %q", s.Text())
			}
			acked[n] = rev
			if seen == kill {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		if seen <= kill {
			t.Fatalf("round %d: the child ended by itself after %d commits", round, seen)
		}
		checkSurvivors(t, dir, acked)
	}
	t.Logf("%d acknowledged commits over 4 kills are all there", len(acked))
}

func checkSurvivors(t *testing.T, dir string, acked map[int]int64) {
	t.Helper()
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	lines, err := l.Lines(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Intents) != len(lines) {
		t.Errorf("%d intents beside %d lines: half a commit was kept", len(snap.Intents), len(lines))
	}
	last := strconv.Itoa(len(lines) - 1)
	if len(snap.Episodes) != 1 || snap.Episodes[0].Sentence != last {
		t.Errorf("the episode is not of the last commit %s", last)
	}
	for n, rev := range acked {
		if n >= len(lines) || lines[n].Seq != rev || lines[n].Sentence != strconv.Itoa(n) {
			t.Errorf("commit %d, acknowledged at revision %d, is not there", n, rev)
		}
	}
}
