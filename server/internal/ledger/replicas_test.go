package ledger

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// crew is a few replicas on this machine.
type crew struct {
	t     *testing.T
	said  spoken // what all of them log
	dirs  map[string]string
	peers map[string]string
	up    map[string]*Ledger
}

// spoken keeps what is logged.
type spoken struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *spoken) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), words)
}

// ports walks through those of this package from anywhere on: no two of its tests have the same.
var ports = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32())
	return &p
}()

// freePeer is an address whose port neither a connection (from 32768 on) nor a lab under test (from 20000 on) takes meanwhile.
func freePeer(t testing.TB) string {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10000+int(ports.Add(1)%9000)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return "https://" + l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// newCrew begins a ledger on r1 and lets n-1 others join by their bundles.
func newCrew(t *testing.T, n int) *crew {
	t.Helper()
	c := &crew{t: t, dirs: map[string]string{}, peers: map[string]string{}, up: map[string]*Ledger{}}
	for i := range n {
		name := fmt.Sprintf("r%d", i+1)
		c.dirs[name], c.peers[name] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	}
	t.Cleanup(func() {
		for _, l := range c.up {
			_ = l.Close()
		}
	})
	if n > 0 {
		c.open("r1", func(r *Replicas) { r.Bootstrap = true })
	}
	for i := 1; i < n; i++ {
		c.join("r1", fmt.Sprintf("r%d", i+1), false)
	}
	return c
}

func (c *crew) options(name string, more ...func(*Replicas)) Options {
	r := &Replicas{Name: name, Peer: c.peers[name], Pattern: "cross-region"}
	for _, f := range more {
		f(r)
	}
	const ms = time.Millisecond
	// Short, but no shorter than a busy machine may stand still without a leader being lost.
	t := timing{tick: 100 * ms, election: 1000 * ms, beat: 300 * ms, stop: 1800 * ms, term: 3000 * ms}
	return Options{Dir: c.dirs[name], Replicas: r, timing: t, Log: slog.New(slog.NewTextHandler(io.MultiWriter(c.t.Output(), &c.said), nil)).With(slog.String("replica", name))}
}

func (c *crew) open(name string, more ...func(*Replicas)) *Ledger {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	l, err := Open(ctx, c.options(name, more...))
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	c.up[name] = l
	return l
}

// join lets a replica in by a bundle that another one makes, and waits for its vote.
func (c *crew) join(by, name string, replace bool) {
	c.t.Helper()
	var bundle []byte
	c.until(20*time.Second, "a bundle for "+name, func() bool {
		var err error
		bundle, err = c.up[by].AddReplica(c.t.Context(), name, c.peers[name], replace)
		if err != nil {
			c.t.Log(err)
		}
		return err == nil
	})
	c.open(name, func(r *Replicas) { r.Join = bundle })
	c.until(20*time.Second, name+" has a vote", func() bool {
		members, err := c.up[by].Members(c.t.Context())
		return err == nil && slices.ContainsFunc(members, func(m core.Member) bool { return m.Name == name && m.State == core.MemberVoter })
	})
}

func (c *crew) until(d time.Duration, what string, f func() bool) {
	c.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	c.t.Fatalf("not within %s: %s", d, what)
}

// leader waits for one that leads, and checks that no other believes it does.
func (c *crew) leader(d time.Duration) (string, *Ledger) {
	c.t.Helper()
	var names []string
	c.until(d, "a leader", func() bool {
		names = nil
		for name, l := range c.up {
			if l.Leading() {
				names = append(names, name)
			}
		}
		return len(names) > 0
	})
	if len(names) > 1 {
		c.t.Fatalf("%v lead at the same time", names)
	}
	return names[0], c.up[names[0]]
}

// writes commits by the one that leads. A commit that meets a change of etcd's leader fails, with an outcome that nobody knows:
// it is made again by the one that leads then, and what it writes may be there twice.
func (c *crew) writes(changes ...core.Change) (name string, l *Ledger, rev int64) {
	c.t.Helper()
	c.until(time.Minute, "a leader that writes", func() bool {
		var err error
		name, l = c.leader(time.Minute)
		if rev, err = l.Commit(c.t.Context(), changes); err != nil {
			c.t.Log(err)
		}
		return err == nil
	})
	return name, l, rev
}

// publish tells a replica's view. It is told again when it meets a change of etcd's leader.
func (c *crew) publish(name string, v core.ReplicaView) {
	c.t.Helper()
	c.until(time.Minute, name+" publishes", func() bool {
		err := c.up[name].Publish(c.t.Context(), v)
		if err != nil {
			c.t.Log(err)
		}
		return err == nil
	})
}

// told are the sentences of lines, each once however often it was written.
func told(lines []core.Line) string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Sentence)
	}
	return strings.Join(slices.Compact(out), " ")
}

// crash ends a replica as a kill would: nothing is handed over.
func (c *crew) crash(name string) {
	c.t.Helper()
	l := c.up[name]
	delete(c.up, name)
	l.stop()
	l.done.Wait()
	l.lead.demote() // and so Close has nothing to resign
	if err := l.Close(); err != nil {
		c.t.Errorf("close %s: %v", name, err)
	}
}

func TestThreeReplicas(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	name, l, rev := c.writes(line("one"))
	if rev == 0 {
		t.Fatal("no revision")
	}
	for other, o := range c.up {
		if o.Identity() != l.Identity() {
			t.Errorf("%s is of ledger %v, %s of %v", other, o.Identity(), name, l.Identity())
		}
		if other == name {
			continue
		}
		_, err := o.Commit(t.Context(), []core.Change{line("not mine")})
		wantCode(t, err, core.CodeConflict)
		c.until(5*time.Second, other+" reads what the leader wrote", func() bool {
			lines, err := o.Lines(t.Context(), 0, 0)
			return err == nil && told(lines) == "one"
		})
		c.until(5*time.Second, other+" knows who leads", func() bool { return o.Leadership().Leader == name })
	}

	// A token made anywhere is good everywhere.
	for other, o := range c.up {
		_, secret, err := o.CreateToken(t.Context(), TokenSite, other, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, any := range c.up {
			c.until(5*time.Second, "the token", func() bool {
				cred, err := any.Authenticate(t.Context(), secret.Reveal())
				return err == nil && cred.Name == other
			})
		}
	}

	// The leader dies without a word. Another takes over, not before a term has passed.
	died := time.Now()
	c.crash(name)
	next, l2 := c.leader(20 * time.Second)
	took := time.Since(died)
	t.Logf("%s takes over from %s after %s", next, name, took)
	if took < l2.lead.t.stop {
		t.Errorf("took over after %s, the old one may lead for %s", took, l2.lead.t.stop)
	}
	next, l2, _ = c.writes(line("two"))

	// Without a majority nobody leads, nothing is written, and reading goes on.
	for other := range c.up {
		if other != next {
			c.crash(other)
		}
	}
	c.until(l2.lead.t.term, "the last one steps down", func() bool { return !l2.Leading() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := l2.Commit(ctx, []core.Change{line("never")}); err == nil {
		t.Error("one of three writes")
	}
	lines, err := l2.Lines(t.Context(), 0, 0)
	if err != nil || told(lines) != "one two" {
		t.Errorf("without a majority %q is read, %v", told(lines), err)
	}
	c.until(10*time.Second, "no quorum is said", func() bool {
		s := l2.Leadership()
		return !s.Quorum && s.Reason != "" && s.Leader == ""
	})

	// It opens and reads also when it starts so.
	if err := l2.Close(); err != nil {
		t.Fatal(err)
	}
	l2 = c.open(next)
	if lines, err := l2.Lines(t.Context(), 0, 0); err != nil || told(lines) != "one two" {
		t.Errorf("started without a majority %q is read, %v", told(lines), err)
	}
	// And writes again when another is back.
	c.open(name)
	c.writes(line("three"))
}

// Five outlive two of them, and not three.
func TestFiveReplicas(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 5)
	for _, sentence := range []string{"five", "four", "three"} {
		name, _, _ := c.writes(line(sentence))
		for other, l := range c.up { // a follower that has not heard that it is decided could not hear it later
			c.until(time.Minute, other+" reads "+sentence, func() bool {
				lines, err := l.Lines(t.Context(), 0, 0)
				return err == nil && strings.HasSuffix(told(lines), sentence)
			})
		}
		c.crash(name)
	}
	for name, l := range c.up {
		c.until(10*time.Second, name+" says that there is no quorum", func() bool {
			s := l.Leadership()
			return !s.Quorum && s.Leader == "" && !l.Leading()
		})
		if lines, err := l.Lines(t.Context(), 0, 0); err != nil || told(lines) != "five four three" {
			t.Errorf("%s reads %q without a majority, %v", name, told(lines), err)
		}
	}
	for name := range c.dirs {
		if c.up[name] == nil {
			c.open(name)
			break
		}
	}
	c.writes(line("three again"))
}

func TestALeaderThatClosesHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	for range 3 {
		var name string
		var l *Ledger
		c.until(time.Minute, "a leader that writes", func() bool { // one that etcd's leader leaves meanwhile does not
			name, l = c.leader(15 * time.Second)
			_, err := l.Commit(t.Context(), []core.Change{line("by " + name)})
			return err == nil
		})
		delete(c.up, name)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		closed := time.Now()
		next, l2 := c.leader(15 * time.Second)
		if took := time.Since(closed); took > l2.lead.t.term/2 {
			t.Errorf("%s took over %s after %s had resigned", next, took, name)
		}
		c.open(name)
	}
}

// An observation is as old as its writing by our own clock says, however late it reached us.
func TestAgeOfAView(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	view := func(name string) core.ReplicaView { return core.ReplicaView{FreshSites: 3, Version: name} }
	publish := func(name string) { c.publish(name, view(name)) }
	heard := func(by, of string) time.Time {
		for _, v := range c.up[by].Views() {
			if v.Replica == of {
				return v.Heard
			}
		}
		return time.Time{}
	}
	publish("r2")
	time.Sleep(50 * time.Millisecond)
	if h := heard("r1", "r2"); !h.IsZero() {
		t.Errorf("r1 has published nothing and claims to know when r2 spoke: %s", h)
	}
	before := time.Now()
	publish("r1")
	publish("r2")
	c.until(5*time.Second, "r1 hears r2", func() bool { return !heard("r1", "r2").Before(before) && !heard("r1", "r2").IsZero() })
	first := heard("r1", "r2")
	time.Sleep(50 * time.Millisecond)
	publish("r1") // r2 stays silent: it grows no younger
	time.Sleep(50 * time.Millisecond)
	if again := heard("r1", "r2"); !again.Equal(first) {
		t.Errorf("r2 is silent, and heard at %s instead of %s", again, first)
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	name, l := c.leader(15 * time.Second)
	before := time.Now()
	c.publish(name, core.ReplicaView{})
	follower := "r1"
	if name == follower {
		follower = "r2"
	}
	reply := make(chan core.Reply, 1)
	go func() {
		r, err := c.up[follower].Order(t.Context(), core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra"}, By: "ann", Reason: "why"})
		if err != nil {
			t.Error(err)
		}
		reply <- r
	}()
	c.until(5*time.Second, "the order reaches the leader", func() bool { return len(l.Orders()) == 1 })
	o := l.Orders()[0]
	if o.After.Before(before) || o.After.After(time.Now()) {
		t.Errorf("the order was given after %s, as far as we know", o.After)
	}
	if o.From != follower || o.Command.By != "ann" || o.Command.Subject.Site != "fra" {
		t.Errorf("the order came as %+v", o)
	}
	c.writes(line("drained"), core.Change{Answer: &core.OrderAnswer{OrderID: o.ID, Reply: core.Reply{OK: true, Sentence: "yes"}}})
	if r := <-reply; !r.OK || r.Sentence != "yes" {
		t.Errorf("the reply came as %+v", r)
	}
	c.until(5*time.Second, "the order is off the list", func() bool { return len(l.Orders()) == 0 })

	// One that nobody answers is taken back when its giver has had enough.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.up[follower].Order(ctx, core.Command{Kind: core.CommandBrake})
	wantCode(t, err, core.CodeUnavailable)
	c.until(5*time.Second, "the order is taken back", func() bool { return len(l.Orders()) == 0 })
}

func TestAReplicaIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	c.writes(line("before"))
	c.crash("r3")
	// Its disk is gone: it must not begin a ledger of its own.
	c.dirs["r3"] = filepath.Join(t.TempDir(), "ledger")
	_, err := Open(t.Context(), c.options("r3"))
	wantCode(t, err, core.CodeInvalid)
	// Nor have the address of another, which must not be removed for it.
	for _, replace := range []bool{false, true} {
		_, err = c.up["r1"].AddReplica(t.Context(), "r3", c.peers["r2"], replace)
		wantCode(t, err, core.CodeConflict)
	}
	// Nor take an old seat without being told.
	_, err = c.up["r1"].AddReplica(t.Context(), "r3", c.peers["r3"], false)
	wantCode(t, err, core.CodeConflict)
	c.leader(20 * time.Second)
	c.join("r1", "r3", true)
	c.until(10*time.Second, "the new r3 has the records", func() bool {
		lines, err := c.up["r3"].Lines(t.Context(), 0, 0)
		return err == nil && told(lines) == "before"
	})
	members, err := c.up["r2"].Members(t.Context())
	if err != nil || len(members) != 3 {
		t.Errorf("members are %+v, %v", members, err)
	}
	// One that is removed stops and says why.
	c.until(20*time.Second, "r3 is removed", func() bool { // etcd waits until its members have seen each other for 5 s
		return c.up["r1"].RemoveReplica(t.Context(), "r3", "") == nil
	})
	select {
	case <-c.up["r3"].Failed():
	case <-time.After(20 * time.Second):
		t.Error("a removed replica goes on")
	}
}

// A bundle that is asked for twice is made twice, and another replica waits for its turn. Neither leaves a member behind
// that is called for ever.
func TestABundleIsMadeAgain(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 1)
	for _, name := range []string{"r2", "r3"} {
		c.dirs[name], c.peers[name] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	}
	c.leader(15 * time.Second)
	err := c.up["r1"].RemoveReplica(t.Context(), "r1", "")
	if wantCode(t, err, core.CodeConflict); err != nil && !strings.Contains(err.Error(), "the last one") {
		t.Error(err)
	}
	var bundle []byte
	for i := range 3 {
		if bundle, err = c.up["r1"].AddReplica(t.Context(), "r2", c.peers["r2"], i == 2); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.up["r1"].AddReplica(ctx, "r3", c.peers["r3"], true); err == nil {
		t.Error("two replicas join at the same time")
	}
	c.open("r2", func(r *Replicas) { r.Join = bundle })
	c.until(20*time.Second, "r2 has a vote", func() bool {
		members, err := c.up["r1"].Members(t.Context())
		return err == nil && len(members) == 2 && members[1].State == core.MemberVoter
	})
	c.join("r1", "r3", false)
	for _, name := range []string{"r1", "r2", "r3"} {
		c.crash(name)
		c.open(name)
		c.leader(20 * time.Second)
	}
	c.writes(line("all three"))
	if n := c.said.count("ID mismatch"); n > 0 {
		t.Errorf("a member that never was is called: %d times", n)
	}
}

// One that has voted and lost its ledger does not come back by its old bundle: it would vote a second time, and what was
// decided with its vote would be undone. Nor does one replica go on with the ledger of another.
func TestAnOldBundleDoesNotVoteAgain(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	c.dirs["r3"], c.peers["r3"] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	var bundle []byte
	c.until(20*time.Second, "a bundle", func() (ok bool) {
		var err error
		bundle, err = c.up["r1"].AddReplica(t.Context(), "r3", c.peers["r3"], false)
		return err == nil
	})
	c.open("r3", func(r *Replicas) { r.Join = bundle })
	c.until(20*time.Second, "r3 has a vote", func() bool {
		members, err := c.up["r1"].Members(t.Context())
		return err == nil && len(members) == 3 && members[2].State == core.MemberVoter
	})
	// r2 is away while something is decided by r1 and r3; then those two go, and r3 loses its disk.
	c.crash("r2")
	c.writes(line("decided"))
	c.crash("r1")
	c.crash("r3")
	c.dirs["r3"] = filepath.Join(t.TempDir(), "empty")
	c.open("r2")
	_, err := Open(t.Context(), c.options("r3", func(r *Replicas) { r.Join = bundle }))
	wantCode(t, err, core.CodeConflict)
	if err == nil || !strings.Contains(err.Error(), "replica replace r3") {
		t.Errorf("no remedy: %v", err)
	}
	c.open("r1")
	lines, err := leaderOf(c).Lines(t.Context(), 0, 0)
	if err != nil || told(lines) != "decided" {
		t.Errorf("what was decided is %+v, %v", lines, err)
	}
	c.crash("r2")
	o := c.options("r1")
	o.Dir = c.dirs["r2"]
	_, err = Open(t.Context(), o)
	wantCode(t, err, core.CodeConflict)
}

func leaderOf(c *crew) *Ledger {
	_, l := c.leader(20 * time.Second)
	return l
}

// A new configuration is numbered once a majority is there, however the replicas are started with it.
func TestANewConfigurationWaitsForAMajority(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	first, err := leaderOf(c).TopologyRevision(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	for name := range c.dirs {
		c.crash(name)
	}
	type numbered struct {
		revision int64
		err      error
	}
	got := make(chan numbered, 3)
	for name := range c.dirs {
		l := c.open(name)
		go func() {
			revision, err := l.TopologyRevision(t.Context(), "new")
			got <- numbered{revision, err}
		}()
		c.until(10*time.Second, "it waits", func() bool { return c.said.count("waits for a majority") > 0 || len(got) > 0 })
	}
	for range 3 {
		select {
		case n := <-got:
			if n.err != nil || n.revision != first+1 {
				t.Errorf("numbered %d, %v; it was %d", n.revision, n.err, first)
			}
		case <-time.After(40 * time.Second):
			t.Fatal("not numbered")
		}
	}
}

// A server that was alone becomes the first of three without losing anything.
func TestFromOneToThree(t *testing.T) {
	t.Parallel()
	c := &crew{t: t, dirs: map[string]string{}, peers: map[string]string{}, up: map[string]*Ledger{}}
	for _, name := range []string{"r1", "r2"} {
		c.dirs[name], c.peers[name] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	}
	t.Cleanup(func() {
		for _, l := range c.up {
			_ = l.Close()
		}
	})
	l := open(t, c.dirs["r1"])
	commit(t, l, line("alone"))
	ident := l.Identity()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.open("r1")
	c.leader(15 * time.Second)
	c.join("r1", "r2", false)
	c.until(10*time.Second, "r2 has the records", func() bool {
		lines, err := c.up["r2"].Lines(t.Context(), 0, 0)
		return err == nil && len(lines) == 1 && c.up["r2"].Identity() == ident
	})
	// It is not taken for one that is alone any more.
	c.crash("r1")
	_, err := Open(t.Context(), Options{Dir: c.dirs["r1"]})
	wantCode(t, err, core.CodeConflict)
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	_, l, rev := c.writes(line("kept"), core.Change{Intent: &core.Intent{ID: "act_1", ActionID: "act"}})
	file := filepath.Join(t.TempDir(), "backup")
	backup(t, l, file)
	c.writes(line("lost"))

	dir := filepath.Join(t.TempDir(), "restored")
	began := time.Now()
	ident, err := Restore(t.Context(), RestoreOptions{From: file, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("restored in %s", time.Since(began))
	if ident.ClusterID != l.Identity().ClusterID || ident.Epoch != l.Identity().Epoch+1 || ident.Pending == "" {
		t.Errorf("restored as %+v from %+v", ident, l.Identity())
	}
	r := open(t, dir)
	lines, err := r.Lines(t.Context(), 0, 0)
	if err != nil || told(lines) != "kept" || lines[len(lines)-1].Seq != rev {
		t.Errorf("restored lines are %+v, %v", lines, err)
	}
	_, err = Restore(t.Context(), RestoreOptions{From: file, Dir: dir})
	wantCode(t, err, core.CodeConflict)

	// A person adopts it; the epoch only grows.
	_, err = r.Adopt(t.Context(), "", ident.Epoch, "ann", "drill", "secret")
	wantCode(t, err, core.CodeInvalid)
	adopted, err := r.Adopt(t.Context(), "", ident.Epoch+5, "ann", "drill", "secret")
	if err != nil || adopted.Epoch != ident.Epoch+5 || adopted.Pending != "" || r.Identity() != adopted {
		t.Errorf("adopted as %+v, %v", adopted, err)
	}
	commit(t, r, line("goes on"))

	// A damaged file is refused and leaves nothing behind.
	damage(t, file)
	other := filepath.Join(t.TempDir(), "other")
	_, err = Restore(t.Context(), RestoreOptions{From: file, Dir: other})
	wantCode(t, err, core.CodeInvalid)
	if has, err := hasLedger(filepath.Join(other, "etcd")); has || err != nil {
		t.Errorf("a failed restore leaves a ledger, %v", err)
	}
}

// A leader that was another's follower for a while has decided on what was true before.
func TestALeaderAnewLoadsFirst(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	name, l := c.leader(15 * time.Second)
	other := map[string]string{"r1": "r2", "r2": "r1"}[name]
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, l, line("before"))
	handOver := func(from, to string) {
		t.Helper()
		c.up[to].Fit("")
		c.up[from].Fit("makes room") // or it takes the lead again, if it is the quicker of the two
		c.until(20*time.Second, to+" leads", func() bool {
			c.up[from].resign()
			return c.up[to].Leading()
		})
	}
	handOver(name, other)
	commit(t, c.up[other], line("between"))
	handOver(other, name)
	_, err := l.Commit(t.Context(), []core.Change{line("on what was true before")})
	wantCode(t, err, core.CodeConflict)
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, l, line("after"))
}

// A replica whose address was misspelt never starts. It can be let go, and the right one is taken in.
func TestAReplicaThatNeverStartedLeaves(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	l := leaderOf(c)
	add := func(name, peer string) {
		t.Helper()
		c.until(20*time.Second, "a bundle for "+name, func() bool {
			_, err := l.AddReplica(t.Context(), name, peer, false)
			return err == nil
		})
	}
	for _, way := range []string{"by its name and address", "as it is listed"} {
		wrong := freePeer(t)
		add("r3", wrong)
		name, peer := "r3", wrong
		if way == "as it is listed" {
			members, err := l.Members(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			name, peer = members[0].Name, ""
		}
		if err := l.RemoveReplica(t.Context(), name, peer); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if members, err := l.Members(t.Context()); err != nil || len(members) != 2 {
			t.Errorf("%s: members are %+v, %v", way, members, err)
		}
	}
	wantCode(t, l.RemoveReplica(t.Context(), "r3", freePeer(t)), core.CodeNotFound)
	c.dirs["r3"], c.peers["r3"] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	c.join("r1", "r3", false)
}

// The bundle would be lost with the one that makes it.
func TestAReplicaDoesNotReplaceItself(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	name, l := c.leader(15 * time.Second)
	_, err := l.AddReplica(t.Context(), name, c.peers[name], true)
	wantCode(t, err, core.CodeConflict)
	if members, err := l.Members(t.Context()); err != nil || len(members) != 3 {
		t.Errorf("members are %+v, %v", members, err)
	}
}

// A replica that was begun anew by mistake, with its old name and address, is not taken for the one that was there.
func TestASecondLedgerIsNoMember(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	_, l, _ := c.writes(line("decided"))
	ident, members := l.Identity(), l.server.Server.Cluster().ID()
	c.crash("r1")
	c.dirs["r1"] = filepath.Join(t.TempDir(), "anew")
	second := c.open("r1", func(r *Replicas) { r.Bootstrap = true })
	if second.server.Server.Cluster().ID() == members {
		t.Error("for etcd the second ledger is the first")
	}
	c.until(20*time.Second, "the others go on", func() bool { return c.up["r2"].Leading() || c.up["r3"].Leading() })
	time.Sleep(2 * time.Second)
	for _, name := range []string{"r2", "r3"} {
		if lines, err := c.up[name].Lines(t.Context(), 0, 0); err != nil || told(lines) != "decided" || c.up[name].Identity() != ident {
			t.Errorf("%s reads %q of %+v, %v", name, told(lines), c.up[name].Identity(), err)
		}
	}
	if second.Identity() == ident {
		t.Error("the second ledger speaks for the first")
	}
}

// An address that is taken is no damaged disk.
func TestAPeerAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 1)
	o := c.options("r1", func(r *Replicas) { r.Bootstrap = true })
	o.Dir = filepath.Join(t.TempDir(), "other")
	_, err := Open(t.Context(), o)
	wantCode(t, err, core.CodeUnavailable)
	if err == nil || !strings.Contains(err.Error(), "--peer-listen") {
		t.Errorf("no remedy: %v", err)
	}
}

// A directory knows when its replica last spoke, so that an older copy of it is found out.
func TestWhenAReplicaLastSpoke(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 1)
	l := leaderOf(c)
	spoke := func(want time.Time) bool {
		got, err := Spoke(c.dirs["r1"])
		if err != nil {
			t.Fatal(err)
		}
		return got.Equal(want)
	}
	if !spoke(time.Time{}) {
		t.Error("it spoke before it has spoken")
	}
	publish := func(at time.Time) {
		if err := l.Publish(t.Context(), core.ReplicaView{At: at}); err != nil {
			t.Fatal(err)
		}
	}
	publish(at(1))
	c.until(10*time.Second, "it is written down", func() bool { return spoke(at(1)) })
	publish(at(2))
	c.crash("r1")
	if !spoke(at(2)) {
		t.Error("it is not written down at the end")
	}
	if err := os.WriteFile(filepath.Join(c.dirs["r1"], spokenFile), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !spoke(time.Time{}) {
		t.Error("a damaged file says something")
	}
}
