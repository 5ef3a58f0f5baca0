package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func word(by string, label core.Said, note string, sec int) core.Feedback {
	onset := at(0)
	return core.Feedback{
		About: core.AlarmID("latency", "latency of fra", onset), Watch: "latency", Series: "latency of fra", Onset: onset,
		Label: label, Note: note, By: by, At: at(sec),
	}
}

func TestFeedbackIsKeptWithItsHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	f := func(w core.Feedback, n int, fresh bool) {
		t.Helper()
		kept, got, err := l.Say(t.Context(), w)
		if err != nil || got != fresh || kept.N != n || !kept.Same(w) {
			t.Errorf("%+v, fresh %v, %v", kept, got, err)
		}
	}
	f(word("admin jo", core.SaidTrue, "", 10), 1, true)
	f(word("admin jo", core.SaidTrue, "", 20), 1, false) // once more
	f(word("admin ann", core.SaidFalse, "a job of the night", 30), 1, true)
	f(word("admin jo", core.SaidFalse, "", 40), 2, true)
	f(word("admin jo", core.SaidTrue, "", 50), 3, true) // back again is a word of its own
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	all, err := l.Feedback(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatalf("%d words, %v", len(all), err)
	}
	jo, ann := word("admin jo", core.SaidTrue, "", 50), word("admin ann", core.SaidFalse, "a job of the night", 30)
	jo.N, ann.N = 3, 1
	if diff := cmp.Diff([]core.Feedback{jo, ann}, core.LastWords(all)); diff != "" {
		t.Error(diff)
	}
	// What goes after its time is in the archive.
	var archive bytes.Buffer
	if n, err := l.Trim(t.Context(), at(35), &archive); err != nil || n != 2 {
		t.Errorf("%d words trimmed, %v", n, err)
	}
	if got := archive.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "a job of the night") {
		t.Errorf("the archive has %s", got)
	}
	f(word("admin jo", core.SaidUnsure, "", 60), 4, true) // and those that are left keep their numbers
}

// Two programs with the token of one person speak at the same time: both words are kept, and one of them is the last.
func TestFeedbackAtTheSameTime(t *testing.T) {
	l := fresh(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, _, err := l.Say(t.Context(), word("admin jo", core.SaidTrue, fmt.Sprint(i), i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	words, err := l.Feedback(t.Context())
	seen := map[int]bool{}
	for _, w := range words {
		seen[w.N] = true
	}
	if err != nil || len(seen) != 8 || len(core.LastWords(words)) != 1 {
		t.Errorf("%+v, %v", words, err)
	}
}

func TestFeedbackHasBounds(t *testing.T) {
	l := fresh(t)
	fill := func(words ...core.Feedback) {
		t.Helper()
		for part := range slices.Chunk(words, 100) {
			var ops []clientv3.Op
			for _, w := range part {
				value, err := json.Marshal(w)
				if err != nil {
					t.Fatal(err)
				}
				ops = append(ops, clientv3.OpPut(feedbackKey(w), string(value)))
			}
			if _, err := l.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := word("admin jo", core.SaidTrue, "", 1)
	last.N = maxWords
	fill(last)
	_, _, err := l.Say(t.Context(), word("admin jo", core.SaidFalse, "", 2))
	wantCode(t, err, core.CodeTooLarge)
	if _, _, err := l.Say(t.Context(), word("admin ann", core.SaidFalse, "", 2)); err != nil {
		t.Error(err)
	}
	var many []core.Feedback
	for i := range maxFeedback {
		w := word("admin jo", core.SaidTrue, "", 1)
		w.About, w.N = fmt.Sprintf("alm_%d", i), 1
		many = append(many, w)
	}
	fill(many...)
	_, _, err = l.Say(t.Context(), word("admin bo", core.SaidFalse, "", 2))
	wantCode(t, err, core.CodeTooLarge)
}

// A word may be said at any replica, the last one of a person counts wherever the others were said, and none goes with the leader.
func TestFeedbackAtSeveralReplicas(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	leader, _, _ := c.writes(line("one"))
	names := slices.Sorted(maps.Keys(c.up))
	for i, name := range names {
		kept, fresh, err := c.up[name].Say(t.Context(), word("admin jo", core.SaidTrue, name, i))
		if err != nil || !fresh || kept.N != i+1 {
			t.Errorf("at %s: %+v, fresh %v, %v", name, kept, fresh, err)
		}
	}
	c.crash(leader)
	c.leader(20 * time.Second)
	for name, l := range c.up {
		c.until(5*time.Second, name+" reads all", func() bool {
			all, err := l.Feedback(t.Context())
			return err == nil && len(all) == 3 && core.LastWords(all)[0].Note == names[2]
		})
	}
	// What cannot be kept is refused.
	next, l := c.leader(20 * time.Second)
	for name := range maps.Clone(c.up) {
		if name != next {
			c.crash(name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, _, err := l.Say(ctx, word("admin jo", core.SaidFalse, "", 9))
	wantCode(t, err, core.CodeUnavailable)
}
