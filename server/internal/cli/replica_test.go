package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// control says what it is told to.
type control struct {
	leadership core.Leadership
	members    func() []core.Member // nil: none
	found      []core.Preflight
	bundle     string
	backup     []byte
	broken     error // after the backup
	err        error
	asked      []string
	cluster    string // of the last preflight
}

func (c *control) Leadership() core.Leadership { return c.leadership }

func (c *control) Members(context.Context) ([]core.Member, error) {
	if c.members == nil {
		return nil, c.err
	}
	return c.members(), c.err
}

func (c *control) AddReplica(_ context.Context, name string, replace bool) ([]byte, error) {
	c.asked = append(c.asked, fmt.Sprint("add ", name, " ", replace))
	return []byte(c.bundle), c.err
}

func (c *control) RemoveReplica(_ context.Context, name string) error {
	c.asked = append(c.asked, "remove "+name)
	return c.err
}

func (c *control) Backup(_ context.Context, w io.Writer) error {
	if _, err := w.Write(c.backup); err != nil {
		return err
	}
	return c.broken
}

func (c *control) Preflight(_ context.Context, cluster string) ([]core.Preflight, error) {
	c.cluster = cluster
	return c.found, c.err
}

func (c *control) Adopt(_ context.Context, id string, epoch int64, by, reason string, token core.Secret) (core.Identity, error) {
	c.asked = append(c.asked, fmt.Sprintf("adopt %q %d %s %s %v", id, epoch, by, reason, strings.HasPrefix(token.Reveal(), "evk_admin_")))
	return core.Identity{ClusterID: "c_new", Epoch: 9}, c.err
}

var since = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// members are one of each kind.
func members() []core.Member {
	heard := func(age time.Duration) *core.ReplicaView {
		return &core.ReplicaView{Version: "v1.2.3", FreshSites: 3, Heard: time.Now().Add(-age)}
	}
	tilted, unfit, blind, unknown := heard(0), heard(0), heard(0), heard(0)
	tilted.Tilt = core.Tilt{On: true, Reason: "the clock jumped"}
	unfit.Unfit = "its store is broken: full\x1b[31m"
	blind.FreshSites = 1
	unknown.Heard = time.Time{}
	return []core.Member{
		{Name: "r1", At: "fra", URL: "https://r1.example.net", State: core.MemberVoter, View: heard(0)},
		{Name: "r2", State: core.MemberVoter, View: tilted},
		{Name: "r3", State: core.MemberVoter, View: unfit},
		{Name: "r4", State: core.MemberVoter, View: blind},
		{Name: "r5", State: core.MemberVoter, View: heard(2 * time.Hour)},
		{Name: "r6", State: core.MemberVoter, View: unknown},
		{Name: "r7", State: core.MemberVoter},
		{Name: "r8", State: core.MemberLearner},
		{Name: "r9", State: core.MemberAbsent},
		{Name: "x", State: core.MemberStranger},
	}
}

const table = `REPLICA  AT   STATE     LEADS  VOTE                                VERSION  ADDRESS
r1       fra  voter     leads  counts                              v1.2.3   https://r1.example.net
r2       -    voter     -      tilt: the clock jumped              v1.2.3   -
r3       -    voter     -      unfit: its store is broken: full[31m  v1.2.3   -
r4       -    voter     -      blind: hears agents of 1, 2 sites are needed  v1.2.3   -
r5       -    voter     -      stale                               v1.2.3   -
r6       -    voter     -      stale                               v1.2.3   -
r7       -    voter     -      none: never heard                   -        -
r8       -    learner   -      none: start it with its bundle      -        -
r9       -    absent    -      none: it is no member               -        -
x        -    stranger  -      none: it is not configured          -        -
`

// cells are the words of a table, without the age of the last word, which the test does not know.
func cells(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		var row []string
		for cell := range strings.SplitSeq(strings.TrimSpace(line), "  ") {
			if cell = strings.TrimSpace(cell); cell != "" && cell != "LAST WORD" && cell != "never" && cell != "unknown" && !strings.HasSuffix(cell, " ago") {
				row = append(row, cell)
			}
		}
		out = append(out, row)
	}
	return out
}

func TestReplicaList(t *testing.T) {
	r := start(t)
	if got := r.ok("replica", "list"); got != "this server is alone\n" {
		t.Errorf("prints %q", got)
	}
	r.control.leadership = core.Leadership{Self: "r2", Leader: "r1", Quorum: true}
	r.control.members = members
	got := r.ok("replica", "list")
	if diff := cmp.Diff(cells(table), cells(got)); diff != "" {
		t.Errorf("prints (-want +got):\n%s\n%s", diff, got)
	}
	for _, want := range []string{" s ago", "2h0m0s ago", "never", "unknown"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := r.ok("replica", "list", "--output", "json"); !strings.Contains(got, `"reason": "the clock jumped"`) {
		t.Errorf("json is %s", got)
	}
	r.control.leadership = core.Leadership{Self: "r2", Reason: "cut off"}
	if got := r.ok("replica", "list"); !strings.HasPrefix(got, "*** NO QUORUM") {
		t.Errorf("prints %q", got)
	}
}

func TestStatusOfSeveral(t *testing.T) {
	r := start(t)
	if out := r.ok("status"); strings.Contains(out, "leader") || strings.Contains(out, "***") || strings.Contains(out, "REPLICA") {
		t.Errorf("a server that is alone shows:\n%s", out)
	}
	r.control.members = members
	f := func(l core.Leadership, pending string, says ...string) {
		t.Helper()
		r.control.leadership, r.records.identity = l, &core.Identity{ClusterID: "c", Epoch: 3, Pending: pending}
		got := r.ok("status")
		for _, s := range append(says, "r5       -    voter", "no sites are configured") {
			if !strings.Contains(got, s) {
				t.Errorf("no %q in\n%s", s, got)
			}
		}
		if loud := strings.Contains(got, "***"); loud != strings.Contains(strings.Join(says, ""), "***") {
			t.Errorf("%+v shows\n%s", l, got)
		}
	}
	f(core.Leadership{Self: "r2", Leader: "r1", Quorum: true, Since: since}, "", "leader: r1 since 2026-11-23 08:00:00Z, quorum: yes, says replica r2\n")
	f(core.Leadership{Self: "r2", Reason: "no majority for 12 s"}, "",
		"*** NO QUORUM: this server does nothing by itself and takes no order; reads go on. no majority for 12 s\n", "*** First ask the other replicas",
		"evenkeel-server break-glass", "leader: nobody, quorum: no")
	f(core.Leadership{Self: "r2", Quorum: true, Reason: "no replica leads"}, "", "*** NO LEADER is known: nothing acts by itself until a replica takes over; reads go on. no replica leads\n")
	f(core.Leadership{Self: "r2", Leads: true, Leader: "r2", Quorum: true}, "it was restored",
		"*** PENDING ADOPTION: nothing is commanded in the name of this ledger. it was restored\n", "evenkeel-server preflight")

	// In an emergency the rest is shown without them.
	r.control.err = errors.New("no members")
	out, warnings, err := run(t, "status", "--server", r.url)
	if err != nil || !strings.Contains(out, "says replica r2") || !strings.Contains(warnings, "the replicas cannot be listed") {
		t.Errorf("%v: %s\n%s", err, warnings, out)
	}
}

func TestReplicaAdd(t *testing.T) {
	r := start(t)
	r.control.bundle = `{"ca_key": "the private key"}` + "\n"
	dir := t.TempDir()
	f := func(verb, asked string) {
		t.Helper()
		file := filepath.Join(dir, verb)
		out, warnings, err := run(t, "replica", verb, "r2", "--out", file, "--server", r.url, "--data", r.data)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		info, statErr := os.Stat(file)
		if err != nil || statErr != nil || string(text) != r.control.bundle || info.Mode().Perm() != 0o600 {
			t.Errorf("%s writes %q, %v, %v", verb, text, info.Mode(), err)
		}
		if strings.Contains(out+warnings, "private key\"") || !strings.Contains(out, "serve --replica r2 --join "+file) {
			t.Errorf("%s prints %q", verb, out)
		}
		if got := r.control.asked[len(r.control.asked)-1]; got != asked {
			t.Errorf("%s asks %q", verb, got)
		}
	}
	f("add", "add r2 false")
	f("replace", "add r2 true")
	_, asks, err := typing(t, strings.NewReader("r2\n"), "replica", "remove", "r2", "--server", r.url, "--data", r.data)
	fails(t, err, 2, "this server is alone and has no replica r2", "--server")
	if asks != "" || len(r.control.asked) != 2 {
		t.Errorf("asks %q where there are no replicas; %v", asks, r.control.asked)
	}
	r.control.members = func() []core.Member { return append(members(), core.Member{Name: "r 2", State: core.MemberVoter}) }
	if out := r.ok("replica", "remove", "r 2", "--yes"); !strings.Contains(out, "replica r 2 is removed") || r.control.asked[2] != "remove r 2" {
		t.Errorf("prints %q, asked %v", out, r.control.asked)
	}

	bad := func(exit int, says string, args ...string) {
		t.Helper()
		_, err := r.run(args...)
		fails(t, err, exit, says)
	}
	bad(2, "--out", "replica", "add", "r2")
	bad(2, "never printed", "replica", "add", "r2", "--out", "-")
	bad(2, "is there already", "replica", "add", "r2", "--out", filepath.Join(dir, "add"))
	bad(2, "as in: evenkeel-server replica add NAME", "replica", "add", "--out", "x")
	if len(r.control.asked) != 3 {
		t.Errorf("a replica was taken in whose bundle is written down nowhere: %v", r.control.asked)
	}
	r.control.members = members
	_, asks, err = typing(t, strings.NewReader("r3\n"), "replica", "remove", "r2", "--server", r.url, "--data", r.data)
	fails(t, err, 2, "that is not the name of the replica; nothing was done")
	if want := "Without r2 there are 6 replicas with a vote, of which 2 may fail"; !strings.Contains(asks, want) || len(r.control.asked) != 3 {
		t.Errorf("asks %q, want %q; %v", asks, want, r.control.asked)
	}
	for _, name := range []string{"r9", "r10"} { // absent, and not configured either
		_, asks, err := typing(t, strings.NewReader(name+"\n"), "replica", "remove", name, "--server", r.url, "--data", r.data)
		fails(t, err, 2, "no replica "+name+" is a member")
		if asks != "" || len(r.control.asked) != 3 {
			t.Errorf("asks %q about one that is no member; %v", asks, r.control.asked)
		}
	}
	r.control.members = func() []core.Member { return members()[:1] }
	_, _, err = typing(t, strings.NewReader("r1\n"), "replica", "remove", "r1", "--server", r.url, "--data", r.data)
	fails(t, err, 3, "the last replica with a vote")
	r.control.members = func() []core.Member { return members()[:2] }
	_, asks, _ = typing(t, strings.NewReader("\n"), "replica", "remove", "r1", "--server", r.url, "--data", r.data)
	if want := "Without r1 there is one replica with a vote; when that one fails, nothing acts."; !strings.Contains(asks, want) {
		t.Errorf("asks %q, want %q", asks, want)
	}
	r.control.members = members
	r.control.err = &core.Error{Code: core.CodeNotFound, Message: "the configuration has no replica r9"}
	bad(2, "no replica r9", "replica", "add", "r9", "--out", filepath.Join(dir, "r9"))
	bad(2, "no replica r9", "replica", "remove", "r2", "--yes")
	r.control.err = &core.Error{Code: core.CodeConflict, Message: "replica r2 is a member already", Hint: "replica replace r2"}
	bad(3, "is a member already (replica replace r2)", "replica", "add", "r2", "--out", filepath.Join(dir, "r9"))
	r.control.err, r.control.bundle = nil, ""
	bad(1, "Evenkeel's way", "replica", "add", "r9", "--out", filepath.Join(dir, "r9"))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("files left: %v, %v", left, err)
	}
	_, _, err = run(t, "replica", "add", "r2", "--out", filepath.Join(dir, "x"), "--server", r.url, "--data", t.TempDir())
	fails(t, err, 4, "admin token")
}

func TestBackup(t *testing.T) {
	r := start(t)
	r.control.backup = []byte(strings.Repeat("all of it ", 1<<18))
	file := filepath.Join(t.TempDir(), "ledger.backup")
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	alone := func() {
		t.Helper()
		if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) > 1 {
			t.Errorf("files left: %v, %v", left, err)
		}
	}
	if out := r.ok("backup", "--out", file); out != fmt.Sprintf("backup of %d bytes is in %s\n", 10<<18, file) || read() != string(r.control.backup) {
		t.Errorf("prints %q", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	alone()
	_, err := r.run("backup", "--out", file)
	fails(t, err, 2, "is there already", "--force")

	// What broke off is not taken for a backup, and does not take the place of one.
	whole := read()
	r.control.broken = errors.New("the disk is gone")
	_, err = r.run("backup", "--out", file, "--force")
	fails(t, err, 5, "broke off after", "was not written", "another replica")
	if read() != whole {
		t.Error("half a backup took the place of a whole one")
	}
	alone()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err = r.run("backup", "--out", file)
	fails(t, err, 5, "broke off")
	r.control.backup, r.control.broken = nil, &core.Error{Code: core.CodeUnavailable, Message: "the ledger could not be read"}
	_, err = r.run("backup", "--out", file)
	fails(t, err, 5, "the ledger could not be read")
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
	_, err = r.run("backup")
	fails(t, err, 2, "--out")
}

func TestPreflight(t *testing.T) {
	r := start(t)
	if out := r.ok("preflight"); out != "no targets are configured\n" {
		t.Errorf("prints %q", out)
	}
	ok := core.Preflight{Target: "director", Result: "ok", Sentence: "it would obey", ClusterID: "c", Epoch: 3, Seq: 9}
	r.control.found = []core.Preflight{ok}
	r.ok("preflight")
	r.control.found = append(r.control.found, core.Preflight{Target: "dns", Result: "cannot_tell", Sentence: "no answer", Remedy: "look at it"})
	out, err := r.run("preflight")
	fails(t, err, 3, "1 of the targets", "dns")
	want := `TARGET    RESULT       CLUSTER  EPOCH  SEQ  WHAT           REMEDY
director  ok           c        3      9    it would obey
dns       cannot_tell  -        -      -    no answer      look at it
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("prints (-want +got):\n%s", diff)
	}
	out, err = r.run("preflight", "--output", "json")
	fails(t, err, 3)
	if !strings.Contains(out, `"remedy": "look at it"`) {
		t.Errorf("json is %s", out)
	}
	_, _, err = run(t, "preflight", "--server", r.url, "--data", t.TempDir())
	fails(t, err, 4)
}

func TestAdopt(t *testing.T) {
	r := start(t)
	r.records.identity = &core.Identity{ClusterID: "c_old", Epoch: 3, Pending: "it was restored"}
	f := func(in string, asked string, says []string, args ...string) {
		t.Helper()
		out, questions, err := typing(t, strings.NewReader(in), append(args, "--reason", "fire", "--server", r.url, "--data", r.data)...)
		if err != nil || !strings.HasPrefix(out, "adopted: cluster c_new, epoch 9\n") {
			t.Errorf("%v: %q, %v", args, out, err)
		}
		for _, s := range append(says, "It waits for this: it was restored", "cannot be taken back") {
			if !strings.Contains(questions, s) {
				t.Errorf("%v does not say %q:\n%s", args, s, questions)
			}
		}
		if got := r.control.asked[len(r.control.asked)-1]; got != asked {
			t.Errorf("%v asks %s, want %s", args, got, asked)
		}
	}
	f("", `adopt "" 0 jo fire true`, []string{"speaks for cluster c_old with epoch 3. Adopted, it speaks for c_old with epoch 4"}, "adopt", "--yes")
	f("", `adopt "c_new" 9 jo fire true`, []string{"Adopted, it speaks for c_new with epoch 9"}, "adopt", "--yes", "--cluster-id", "c_new", "--epoch", "9")
	f(" c_old \n", `adopt "" 0 jo fire true`, []string{"Type the cluster id c_old"}, "adopt")
	f("c_new", `adopt "c_new" 0 jo fire true`, []string{"Type the cluster id c_new"}, "adopt", "--cluster-id", "c_new")

	// A name that no executor knows is doubted before the word is asked for.
	doubt := func(want string, found ...core.Preflight) {
		t.Helper()
		r.control.found = found
		_, questions, err := run(t, "adopt", "--yes", "--cluster-id", "c_new", "--reason", "fire", "--server", r.url, "--data", r.data)
		if err != nil || r.control.cluster != "c_new" {
			t.Errorf("%v, asked of %q", err, r.control.cluster)
		}
		if want == "" && strings.Contains(strings.ToLower(questions), "no executor") || !strings.Contains(questions, want) {
			t.Errorf("%+v: says\n%s, want %q", found, questions, want)
		}
	}
	deaf := core.Preflight{Target: "dns", Result: "cannot_tell"}
	doubt("No executor answers, so nobody can say whether cluster c_new is one")
	doubt("No executor answers, so nobody can say whether cluster c_new is one", deaf)
	doubt("NO EXECUTOR KNOWS cluster c_new: none of the 2 that answer", deaf, core.Preflight{Target: "a", Result: "ok", ClusterID: "c_new"},
		core.Preflight{Target: "b", Result: "unknown_cluster", ClusterID: "c_old", Epoch: 3})
	doubt("", deaf, core.Preflight{Target: "a", Result: "epoch_behind", ClusterID: "c_new", Epoch: 8})
	r.control.asked = r.control.asked[:4]

	bad := func(in io.Reader, exit int, says string, args ...string) {
		t.Helper()
		_, _, err := typing(t, in, append(args, "--server", r.url, "--data", r.data)...)
		fails(t, err, exit, says)
	}
	bad(strings.NewReader("yes\n"), 2, "nothing was done", "adopt", "--reason", "fire")
	bad(strings.NewReader(""), 2, "nothing was done", "adopt", "--reason", "fire")
	bad(nil, 2, "--yes", "adopt", "--reason", "fire")
	bad(nil, 2, "needs a reason", "adopt", "--yes")
	bad(nil, 2, `"the old one" is no cluster id (one has 3 to 64`, "adopt", "--yes", "--reason", "fire", "--cluster-id", "the old one")
	bad(nil, 2, "counts from 1", "adopt", "--yes", "--reason", "fire", "--epoch", "-1")
	if len(r.control.asked) != 4 {
		t.Errorf("adopted without a word: %v", r.control.asked)
	}
	r.control.err = &core.Error{Code: core.CodeInvalid, Message: "epoch 2 is not above the present one, 3"}
	bad(nil, 2, "is not above", "adopt", "--yes", "--reason", "fire", "--epoch", "2")
}
