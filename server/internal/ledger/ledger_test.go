package ledger

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestIdentityAndTopologyRevisionOutliveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	first := l.Identity()
	if first.Epoch != 1 || !strings.HasPrefix(first.ClusterID, "c_") {
		t.Errorf("identity is %+v", first)
	}
	revisions := func(l *Ledger, hash string, want int64) {
		t.Helper()
		got, err := l.TopologyRevision(t.Context(), hash)
		if err != nil || got != want {
			t.Errorf("topology revision of %s is %d, %v, want %d", hash, got, err, want)
		}
	}
	revisions(l, "a", 1)
	revisions(l, "a", 1)
	revisions(l, "b", 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if l.Identity() != first {
		t.Errorf("identity is %+v after a restart, was %+v", l.Identity(), first)
	}
	revisions(l, "b", 2)
	revisions(l, "a", 3)
}

func TestCommitIsAllOrNothing(t *testing.T) {
	l := fresh(t)
	intent := core.Change{Intent: &core.Intent{ID: "act_1_1", ActionID: "act_1"}}
	rev := commit(t, l, intent, core.Change{Action: &core.Action{ID: "act_1", State: core.ActionRunning}}, line("one"))
	_, err := l.Commit(t.Context(), []core.Change{line("two"), intent})
	wantCode(t, err, core.CodeConflict)
	_, err = l.Commit(t.Context(), []core.Change{
		line("three"), {Intent: &core.Intent{ID: "x"}}, {Intent: &core.Intent{ID: "x"}},
	})
	wantCode(t, err, core.CodeConflict)
	_, err = l.Commit(t.Context(), []core.Change{line("four"), {}})
	wantCode(t, err, core.CodeInvalid)
	_, err = l.Commit(t.Context(), []core.Change{{Episode: &core.Episode{}}})
	wantCode(t, err, core.CodeInvalid)
	both := core.Change{Brake: &core.Brake{}, Line: &core.Line{}}
	_, err = l.Commit(t.Context(), []core.Change{both})
	wantCode(t, err, core.CodeInvalid)

	snap, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Intents) != 1 || snap.Intents[0].Seq != rev {
		t.Errorf("intents are %+v, want one with seq %d", snap.Intents, rev)
	}
	lines, err := l.Lines(t.Context(), 0, 0)
	if err != nil || len(lines) != 1 || lines[0].Sentence != "one" || lines[0].Seq != rev {
		t.Errorf("lines are %+v, %v", lines, err)
	}
}

func TestCommitKeepsTheLaterOfTwo(t *testing.T) {
	l := fresh(t)
	commit(t, l,
		core.Change{Episode: &core.Episode{ID: "ep_1", Sentence: "first"}},
		core.Change{Episode: &core.Episode{ID: "ep_1", Sentence: "second"}})
	e, err := l.Episode(t.Context(), "ep_1")
	if err != nil || e.Sentence != "second" {
		t.Errorf("episode is %+v, %v", e, err)
	}
	if rev := commit(t, l); rev != l.Revision() {
		t.Errorf("an empty commit stands at %d, want %d", rev, l.Revision())
	}
}

func TestCommitRefusesWhatDoesNotFit(t *testing.T) {
	l := fresh(t)
	var many []core.Change
	for range maxOps {
		many = append(many, line("x"))
	}
	commit(t, l, many...)
	_, err := l.Commit(t.Context(), append(many, line("one too many")))
	wantCode(t, err, core.CodeTooLarge)
	big := core.Change{Line: &core.Line{Sentence: strings.Repeat("x", maxBytes-1024)}}
	commit(t, l, big)
	_, err = l.Commit(t.Context(), []core.Change{big, line(strings.Repeat("x", 2048))})
	wantCode(t, err, core.CodeTooLarge)
}

func TestFenceKeepsAnOldWriterOut(t *testing.T) {
	l := fresh(t)
	commit(t, l, line("mine"))
	if _, err := l.client.Put(t.Context(), keyFence, `{"epoch":1,"incarnation":"another"}`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := l.Commit(t.Context(), []core.Change{line("too late")})
		wantCode(t, err, core.CodeConflict)
	}
	l.doubtful = true
	_, err := l.Commit(t.Context(), []core.Change{line("too late")})
	wantCode(t, err, core.CodeConflict)
}

func TestCommitInDoubtIsSettledBeforeTheNextLoad(t *testing.T) {
	l := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Commit(ctx, []core.Change{line("maybe")})
	wantCode(t, err, core.CodeUnavailable)
	if !l.doubtful {
		t.Fatal("a commit without an answer leaves no doubt")
	}
	old := l.fence.Load()
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.doubtful || l.fence.Load() == old {
		t.Error("the load did not take the fence anew")
	}
	// The late one, had it still been under way, meets the new fence.
	res, err := l.client.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(keyFence), "=", old)).Commit()
	if err != nil || res.Succeeded {
		t.Errorf("the old fence still holds: %v", err)
	}
	commit(t, l, line("next"))
}

func TestLoadLeavesOldHistoryOut(t *testing.T) {
	l := fresh(t)
	old, recent := time.Now().Add(-3*24*time.Hour), time.Now().Add(-time.Hour)
	commit(t, l,
		core.Change{Episode: &core.Episode{ID: "open"}},
		core.Change{Episode: &core.Episode{ID: "recent", ClosedAt: &recent}},
		core.Change{Episode: &core.Episode{ID: "old", ClosedAt: &old}},
		core.Change{Action: &core.Action{ID: "running", State: core.ActionRunning}},
		core.Change{Action: &core.Action{ID: "old", State: core.ActionSucceeded, EndedAt: &old}},
		core.Change{Intent: &core.Intent{ID: "running_1", ActionID: "running"}},
		core.Change{Intent: &core.Intent{ID: "old_1", ActionID: "old"}},
		core.Change{Notice: &core.Notice{ID: "n1", State: "pending"}},
		core.Change{Notice: &core.Notice{ID: "n2", State: "sent"}},
		core.Change{Brake: &core.Brake{On: true, By: "jo"}},
		core.Change{Routing: &core.Routing{Subject: core.Subject{Site: "fra"}, Weight: 0}},
		core.Change{Routing: &core.Routing{Subject: core.Subject{Site: "fra", Service: "a/b"}, Weight: 1}})
	s, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range s.Episodes {
		got = append(got, "episode "+e.ID)
	}
	for _, a := range s.Actions {
		got = append(got, "action "+a.ID)
	}
	for _, i := range s.Intents {
		got = append(got, "intent "+i.ID)
	}
	for _, n := range s.Notices {
		got = append(got, "notice "+n.ID)
	}
	want := []string{
		"episode open", "episode recent", "action running", "intent running_1", "notice n1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if s.Brake == nil || s.Brake.By != "jo" || len(s.Routing) != 2 {
		t.Errorf("brake %+v, routing %+v", s.Brake, s.Routing)
	}
}

// TestLoadKeepsOldActionsThatStillBind: a drain of last week is what a drained site stands on.
func TestLoadKeepsOldActionsThatStillBind(t *testing.T) {
	l := fresh(t)
	old := time.Now().Add(-7 * 24 * time.Hour)
	commit(t, l,
		core.Change{Episode: &core.Episode{ID: "open"}},
		core.Change{Action: &core.Action{ID: "episode-open", EpisodeID: "open", State: core.ActionSucceeded, EndedAt: &old}},
		core.Change{Action: &core.Action{ID: "routed", EpisodeID: "closed", State: core.ActionSucceeded, EndedAt: &old}},
		core.Change{Action: &core.Action{ID: "over", EpisodeID: "closed", State: core.ActionSucceeded, EndedAt: &old}},
		core.Change{Routing: &core.Routing{Subject: core.Subject{Site: "fra"}, State: core.RoutingDrained, ActionID: "routed"}})
	s, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range s.Actions {
		got = append(got, a.ID)
	}
	if diff := cmp.Diff([]string{"episode-open", "routed"}, got); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func TestReads(t *testing.T) {
	l := fresh(t)
	for _, id := range []string{"ep_b", "ep_a", "ep_c"} {
		e := core.Episode{ID: id}
		if id == "ep_a" {
			e.ClosedAt = new(at(1))
		}
		commit(t, l, core.Change{Episode: &e},
			core.Change{Decision: &core.Decision{ID: "d2" + id, EpisodeID: id, N: 2}},
			core.Change{Decision: &core.Decision{ID: "d1" + id, EpisodeID: id, N: 1}},
			core.Change{Notice: &core.Notice{ID: "n1" + id, EpisodeID: id, N: 1}},
			core.Change{Action: &core.Action{ID: "act" + id}})
	}
	episodes, err := l.Episodes(t.Context(), 2)
	if err != nil || len(episodes) != 2 || episodes[0].ID != "ep_c" || episodes[1].ID != "ep_a" {
		t.Errorf("episodes are %+v, %v", episodes, err)
	}
	opened, err := l.OpenEpisodes(t.Context(), 0)
	if err != nil || len(opened) != 2 || opened[1].ID != "ep_b" {
		t.Errorf("open episodes are %+v, %v", opened, err)
	}
	commit(t, l, core.Change{Episode: &core.Episode{ID: "ep_b"}},
		core.Change{Episode: &core.Episode{ID: "ep_b", ClosedAt: new(at(2))}})
	opened, err = l.OpenEpisodes(t.Context(), 5)
	if err != nil || len(opened) != 1 || opened[0].ID != "ep_c" {
		t.Errorf("open episodes are %+v, %v after one was closed", opened, err)
	}
	decisions, err := l.Decisions(t.Context(), "ep_a")
	if err != nil || len(decisions) != 2 || decisions[0].ID != "d1ep_a" || decisions[1].ID != "d2ep_a" {
		t.Errorf("decisions are %+v, %v", decisions, err)
	}
	notices, err := l.Notices(t.Context(), "ep_b")
	if err != nil || len(notices) != 1 || notices[0].ID != "n1ep_b" {
		t.Errorf("notices are %+v, %v", notices, err)
	}
	actions, err := l.Actions(t.Context(), 0)
	if err != nil || len(actions) != 3 || actions[0].ID != "actep_c" {
		t.Errorf("actions are %+v, %v", actions, err)
	}
	if _, err := l.Decision(t.Context(), "d1ep_a"); err != nil {
		t.Error(err)
	}
	_, err = l.Action(t.Context(), "nope")
	wantCode(t, err, core.CodeNotFound)
}

func TestLines(t *testing.T) {
	l := fresh(t)
	a := commit(t, l, line("1"), line("2"))
	if _, err := l.TopologyRevision(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	b := commit(t, l, line("3"))
	text := func(after int64, limit int) string {
		t.Helper()
		lines, err := l.Lines(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, x := range lines {
			s += x.Sentence
		}
		return s
	}
	for _, c := range []struct {
		after int64
		limit int
		want  string
	}{{0, 0, "123"}, {0, 1, "12"}, {a, 0, "3"}, {a + 1, 0, "3"}, {b, 0, ""}, {-5, 9, "123"}, {1 << 40, 0, ""}, {math.MaxInt64, 0, ""}} {
		if got := text(c.after, c.limit); got != c.want {
			t.Errorf("lines after %d, limit %d are %q, want %q", c.after, c.limit, got, c.want)
		}
	}
	last, err := l.LastLines(t.Context(), 2)
	if err != nil || len(last) != 2 || last[0].Sentence != "2" || last[0].N != 1 || last[1].Seq != b {
		t.Errorf("last lines are %+v, %v", last, err)
	}
}

func TestWatch(t *testing.T) {
	l := fresh(t)
	first := commit(t, l, line("before"))
	ctx, cancel := context.WithCancel(t.Context())
	live := l.Watch(ctx, 0)
	rev := commit(t, l, core.Change{Episode: &core.Episode{ID: "ep"}}, line("now"), line("too"))
	read := func(ch <-chan core.Event, n int) (out []core.Event) {
		for range n {
			e, ok := <-ch
			if !ok {
				t.Fatal("the watch ended")
			}
			out = append(out, e)
		}
		return out
	}
	got := read(live, 3)
	if got[0].Change.Episode == nil || !got[0].More || got[2].More || got[2].Change.Line.Seq != rev {
		t.Errorf("events are %+v", got)
	}
	again := read(l.Watch(ctx, first-1), 4)
	if again[0].Change.Line.Sentence != "before" || again[0].More {
		t.Errorf("resumed events are %+v", again)
	}
	cancel()
	for range live {
		t.Error("an event after the end")
	}
}

func TestWatchOfForgottenHistoryEnds(t *testing.T) {
	l := fresh(t)
	first := commit(t, l, line("1"))
	rev := commit(t, l, line("2"))
	if _, err := l.client.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	for e := range l.Watch(t.Context(), first-1) {
		t.Errorf("got %+v", e)
	}
}

func TestTrim(t *testing.T) {
	l := fresh(t)
	old, young := at(0), at(1000)
	ended := func(id, episode string) core.Change {
		return core.Change{Action: &core.Action{ID: id, EpisodeID: episode, State: core.ActionSucceeded, EndedAt: &old}}
	}
	commit(t, l,
		core.Change{Episode: &core.Episode{ID: "old", ClosedAt: &old}},
		core.Change{Episode: &core.Episode{ID: "young", ClosedAt: &young}},
		core.Change{Episode: &core.Episode{ID: "open"}},
		core.Change{Decision: &core.Decision{ID: "d-old", EpisodeID: "old", N: 1}},
		core.Change{Decision: &core.Decision{ID: "d-open", EpisodeID: "open", N: 1}},
		core.Change{Notice: &core.Notice{ID: "n-old", EpisodeID: "old", N: 1}},
		ended("gone", "old"), ended("episode open", "open"), ended("routing", "old"),
		core.Change{Intent: &core.Intent{ID: "gone_1", ActionID: "gone"}},
		core.Change{Intent: &core.Intent{ID: "routing_1", ActionID: "routing"}},
		core.Change{Routing: &core.Routing{Subject: core.Subject{Site: "fra"}, ActionID: "routing"}},
		core.Change{Line: &core.Line{At: old, Sentence: "old"}},
		core.Change{Line: &core.Line{At: young, Sentence: "young"}})
	n, err := l.Trim(t.Context(), at(500), nil)
	if err != nil || n != 8 {
		t.Errorf("trimmed %d keys, %v, want 8", n, err)
	}
	if n, err := l.Trim(t.Context(), at(500), nil); err != nil || n != 0 {
		t.Errorf("trimmed %d more keys, %v", n, err)
	}
	res, err := l.client.Get(t.Context(), keyRoot, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range res.Kvs {
		if key := string(kv.GetKey()); strings.Contains(key, "gone") || strings.Contains(key, "old") {
			t.Errorf("%s is still there", key)
		}
	}
	lines, err := l.Lines(t.Context(), 0, 0)
	if err != nil || len(lines) != 1 || lines[0].Sentence != "young" {
		t.Errorf("lines are %+v, %v", lines, err)
	}
}

func TestFullLedgerSaysSoAndRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	o := Options{Dir: dir, quota: 4 << 20}
	l, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := core.Change{Episode: &core.Episode{ID: "ep", Sentence: strings.Repeat("x", 1<<20)}}
	// The size is known only when etcd writes its file, so there is no telling which commit is the last.
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if _, err = l.Commit(t.Context(), []core.Change{e}); err != nil {
			break
		}
	}
	wantCode(t, err, core.CodeUnavailable)
	err = l.Ready(t.Context())
	wantCode(t, err, core.CodeUnavailable)
	var ce *core.Error
	if !errors.As(err, &ce) || !strings.Contains(ce.Message, "full") || ce.Hint == "" {
		t.Errorf("not ready because: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := l.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	commit(t, l, line("again"))
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	refused := func(dir string, parts ...string) {
		t.Helper()
		_, err := Open(t.Context(), Options{Dir: dir})
		var ce *core.Error
		if !errors.As(err, &ce) || ce.Hint == "" && dir != "" {
			t.Fatalf("opened with %v, want a *core.Error with a hint", err)
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("error %q does not say %q", err, p)
			}
		}
	}
	refused(dir, "in use by another server (process ")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(t.TempDir(), "newer")
	if err := errors.Join(os.Mkdir(newer, 0o700), os.WriteFile(filepath.Join(newer, "format"), []byte("2\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	refused(newer, "newer version", "format 2")
	refused("")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(file, "cannot use")
}

// In a process of its own: where etcd gives up on a damaged log it leaves goroutines behind.
func TestDamagedFilesAreAnErrorAndNoPanic(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "damaged")
	wal := filepath.Join(dir, "etcd", "member", "wal")
	if err := errors.Join(os.MkdirAll(wal, 0o700), os.WriteFile(
		filepath.Join(wal, "0000000000000000-0000000000000000.wal"), []byte(strings.Repeat("rubbish!", 1000)), 0o600,
	)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "cannot be opened") || strings.Contains(string(out), "goroutine ") {
		t.Errorf("opening damaged files: %v\n%s", err, out)
	}
}

func TestOpenListensNowhere(t *testing.T) {
	l := fresh(t)
	if n := len(l.server.Clients) + len(l.server.Peers); n != 0 {
		t.Errorf("etcd has %d listeners", n)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreRegisteredAndTakenBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	r := prometheus.NewRegistry()
	for range 2 {
		l, err := Open(t.Context(), Options{Dir: dir, Registry: r})
		if err != nil {
			t.Fatal(err)
		}
		commit(t, l, line("x"))
		got, err := r.Gather()
		if err != nil || len(got) != 6 {
			t.Errorf("%d families, %v", len(got), err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "ledger")
	for b.Loop() {
		l, err := Open(b.Context(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkCommit(b *testing.B) {
	l := fresh(b)
	c := []core.Change{{Episode: &core.Episode{ID: "ep", Sentence: strings.Repeat("x", 2000)}}, line("one")}
	for b.Loop() {
		if _, err := l.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
