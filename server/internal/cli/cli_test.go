package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/server/internal/api"
	"github.com/evenkeel/evenkeel/server/internal/cli"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop stands for the rooms behind the API.
type loop struct {
	topology core.Topology
	seen     core.Observation
	warming  []core.Warming
	special  []core.SpecialTime
	command  core.Command
	commands []core.Command
	reply    core.Reply
	// judge answers instead of reply when it is set.
	judge func(core.Command) (core.Reply, error)
}

func (l *loop) Topology() core.Topology               { return l.topology }
func (l *loop) Observation() (core.Observation, bool) { return l.seen, true }
func (l *loop) Warming() []core.Warming               { return l.warming }
func (l *loop) Stance() api.Stance {
	return api.Stance{Reason: "the mode is observe", Special: l.special}
}

func (l *loop) Command(_ context.Context, c core.Command) (core.Reply, error) {
	l.command = c
	l.commands = append(l.commands, c)
	if l.judge != nil {
		return l.judge(c)
	}
	return l.reply, nil
}

// records is the ledger under a name of the test's choosing.
type records struct {
	*ledger.Ledger
	identity *core.Identity // nil: its own
}

func (r *records) Identity() core.Identity {
	if r.identity != nil {
		return *r.identity
	}
	return r.Ledger.Identity()
}

// rig is a real API over a real ledger, and a data directory with its admin token.
type rig struct {
	t       *testing.T
	loop    *loop
	ledger  *ledger.Ledger
	records *records
	control *control
	url     string
	data    string

	opinions *opinions
}

func start(t *testing.T) *rig {
	t.Helper()
	data := t.TempDir()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(data, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := l.CreateToken(t.Context(), "admin", "jo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "admin.token"), []byte(secret.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, ledger: l, records: &records{Ledger: l}, data: data, loop: &loop{},
		control: &control{leadership: core.Leadership{Leads: true, Quorum: true}}, // alone
	}
	r.opinions = &opinions{Ledger: l}
	h, err := api.New(api.Options{
		Opinions: r.opinions,
		Records:  r.records, Live: r.loop, Commander: r.loop, Tokens: l, Self: r.loop, Version: "1.2.3", Control: r.control, Changes: l, Watches: r.loop,
		Parts: []api.PartCheck{
			{Name: "ledger", Ready: l.Ready}, {Name: "store", Ready: func(context.Context) error { return errors.New("full") }},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	r.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// run runs a command line and returns what it printed.
func run(t *testing.T, args ...string) (out, warnings string, err error) {
	t.Helper()
	return typing(t, nil, args...)
}

// typing runs a command line for an operator who types what is in the reader.
func typing(t *testing.T, in io.Reader, args ...string) (out, warnings string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	root := &cobra.Command{Use: "evenkeel-server", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cli.Commands(cli.Options{Out: &o, Err: &e, In: in})...)
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func (r *rig) run(args ...string) (string, error) {
	r.t.Helper()
	out, _, err := run(r.t, append(args, "--server", r.url, "--data", r.data)...)
	return out, err
}

func (r *rig) ok(args ...string) string {
	r.t.Helper()
	out, err := r.run(args...)
	if err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
	return out
}

// fails checks the exit code and what the error says.
func fails(t *testing.T, err error, exit int, says ...string) {
	t.Helper()
	if err == nil || cli.ExitCode(err) != exit {
		t.Errorf("error is %v with exit code %d, want %d", err, cli.ExitCode(err), exit)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestStatus(t *testing.T) {
	r := start(t)
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	if got := r.ok("status"); !strings.Contains(got, "no sites are configured") || !strings.Contains(got, "no open episodes") {
		t.Errorf("an empty server shows:\n%s", got)
	}
	subject := core.Subject{Site: "fra", Service: "checkout"}
	r.loop.topology = core.Topology{
		Sites: []core.Site{{Name: "fra", Capacity: map[string]float64{"checkout": 1}}, {Name: "ams"}}, Witnesses: []string{"lon"},
		Services: []core.Service{{Name: "checkout"}},
		Changes: []core.DeclaredChange{
			{Site: "fra", Service: "checkout", What: "disks", By: "admin jo", End: time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC), Maintenance: true},
			{Site: "ams", Service: "all", What: "long over", By: "admin jo", End: time.Unix(1, 0), Maintenance: true},
		},
	}
	r.loop.seen = core.Observation{
		At: at, Assessments: []core.Assessment{{
			Subject: subject, Condition: core.Failing, Odd: []core.Evidence{{
				Class: core.ClassSymptom, Signal: core.SignalAnomaly, Source: "edge-latency", Onset: at, Series: "edge-latency of checkout at fra",
				Band: &core.Band{Value: 0.99987, Expected: 0.0123, Lower: -0.98, Upper: 1.02}, Sentence: "long",
			}},
		}},
		Traffic: []core.Traffic{{Site: "fra", Service: "checkout", Known: true, Share: .333}},
		Writers: []core.Writer{{Name: "fra", Kind: "site", LastAt: at}, {Name: "lon", Kind: "witness", Fresh: true}},
		Tilt:    core.Tilt{On: true, Reason: "the clock jumped"},
	}
	r.loop.special = []core.SpecialTime{{Name: "sale", Sites: []string{"fra"}, Sentence: "special time at fra until tomorrow"}}
	r.loop.warming = []core.Warming{{Watch: "http-latency", Sentence: "warming, 40 of 75 points, about 3 min"}}
	if _, err := r.ledger.Commit(t.Context(), []core.Change{
		{Episode: &core.Episode{
			ID: "ep_1", Subject: subject, Onset: at, Condition: core.Failing, Sentence: "checkout at fra is dead\x1b[31m",
			DecisionID: "dec_1", Standing: core.Standing{Verdict: core.VerdictAwaitApproval},
		}},
		{Routing: &core.Routing{Subject: subject, State: core.RoutingDraining, Weight: 50}},
		{Brake: &core.Brake{On: true, By: "jo", Reason: "storm", At: at}},
	}); err != nil {
		t.Fatal(err)
	}
	got := r.ok("status")
	got = got[strings.Index(got, "\n")+1:] // the first line has a random id
	want := `acting: no, the mode is observe
brake: on since 2026-11-23 08:00:00Z by jo: storm
maintenance: checkout at fra until 2126-01-01 00:00:00Z by admin jo: disks
tilted: the clock jumped
store: full

SITE  SERVICE   CONDITION  ROUTING   WEIGHT  SHARE   AGENT
fra   checkout  failing    draining  50 %    33.3 %  silent since 2026-11-23 08:00:00Z
ams   -         -          -         -       -       unknown
lon   -         -          -         -       -       heard

symptom: edge-latency of checkout at fra: 0.9999, expected 0.0123, band -0.98 to 1.02, since 08:00:00 UTC

EPISODE  SINCE                 SUBJECT          CONDITION  ROUTING  WHAT
ep_1     2026-11-23 08:00:00Z  checkout at fra  failing    unknown  checkout at fra is dead[31m

checkout at fra waits for your word: evenkeel-server approve dec_1 --reason WHY, or veto

sale: special time at fra until tomorrow

http-latency: warming, 40 of 75 points, about 3 min
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	var v struct {
		Status   struct{ Version string }
		Episodes []core.Episode
	}
	if err := json.Unmarshal([]byte(r.ok("status", "--output", "json")), &v); err != nil || v.Status.Version != "1.2.3" || len(v.Episodes) != 1 {
		t.Errorf("json is %+v, %v", v, err)
	}
}

func TestReadingNeedsNoToken(t *testing.T) {
	r := start(t)
	if _, _, err := run(t, "status", "--server", r.url, "--data", t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestOrders(t *testing.T) {
	r := start(t)
	r.loop.reply = core.Reply{OK: true, Sentence: "fra is being drained", ActionID: "act_1"}
	f := func(want core.Command, args ...string) {
		t.Helper()
		want.By, want.Reason = "jo", "why"
		if out := r.ok(append(args, "--reason", " why ")...); out != "fra is being drained\naction act_1\n" {
			t.Errorf("%v prints %q", args, out)
		}
		if diff := cmp.Diff(want, r.loop.command); diff != "" {
			t.Errorf("%v (-want +got):\n%s", args, diff)
		}
	}
	f(core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra", Service: "all"}}, "drain", "fra")
	f(core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra", Service: "checkout"}}, "drain", "fra", "checkout")
	f(core.Command{Kind: core.CommandRestore, Subject: core.Subject{Site: "fra", Service: "all"}}, "restore-site", "fra")
	f(core.Command{Kind: core.CommandApprove, DecisionID: "dec_1"}, "approve", "dec_1")
	f(core.Command{Kind: core.CommandVeto, DecisionID: "dec_1"}, "veto", "dec_1")
	f(core.Command{Kind: core.CommandHold, EpisodeID: "ep_1", Hold: 15 * time.Minute}, "hold", "ep_1")
	f(core.Command{Kind: core.CommandHold, EpisodeID: "ep_1", Hold: 90 * time.Second}, "hold", "ep_1", "--for", "90s")
	f(core.Command{Kind: core.CommandBrake, On: true}, "brake", "on")
	f(core.Command{Kind: core.CommandBrake}, "brake", "off")

	r.loop.reply = core.Reply{Code: core.CodeNotFound, Sentence: "checkout at far is not configured"}
	_, err := r.run("drain", "far", "checkout", "--reason", "x")
	fails(t, err, 3, "evenkeel-server status shows")
	r.loop.reply = core.Reply{Code: "last-site", Sentence: "fra is the last serving site"}
	_, err = r.run("drain", "fra", "--reason", "why")
	fails(t, err, 3, "fra is the last serving site")
	out, err := r.run("drain", "fra", "--reason", "why", "--output", "json")
	fails(t, err, 3)
	var reply core.Reply
	if err := json.Unmarshal([]byte(out), &reply); err != nil || reply != r.loop.reply {
		t.Errorf("json is %q", out)
	}
}

func TestMistakesAreSentencesWithRemedies(t *testing.T) {
	r := start(t)
	f := func(exit int, says []string, args ...string) {
		t.Helper()
		_, err := r.run(args...)
		fails(t, err, exit, says...)
	}
	f(2, []string{"an order needs a reason", "--reason"}, "drain", "fra")
	f(2, []string{"as in: evenkeel-server drain SITE"}, "drain", "--reason", "x")
	f(2, []string{"the brake cannot be", "on or off"}, "brake", "maybe", "--reason", "x")
	f(2, []string{"hold_s is out of range"}, "hold", "ep", "--for", "48h", "--reason", "x")
	f(2, []string{"there is no output", "table or json"}, "status", "--output", "xml")
	f(2, []string{"unknown flag", "--help"}, "status", "--verbos")
	f(2, []string{`unknown command "crate"`, "as in: evenkeel-server token"}, "token", "crate", "--kind", "site", "--name", "fra")
	f(2, []string{"kind and a name"}, "token", "create", "--kind", "site")
	f(2, []string{"cannot be of kind", "admin, site or edge"}, "token", "create", "--kind", "root", "--name", "x")
	f(2, []string{`there is no site "fra": none is configured`, "restart the server"}, "token", "create", "--kind", "site", "--name", "fra")
	f(2, []string{"there is no token tok_x"}, "token", "revoke", "tok_x")

	_, _, err := run(t, "brake", "on", "--reason", "x", "--server", r.url, "--data", t.TempDir())
	fails(t, err, 4, "admin token cannot be read", "--token-file", "--data")
	wrong := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(wrong, []byte("evk_admin_wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = run(t, "brake", "on", "--reason", "x", "--server", r.url, "--token-file", wrong)
	fails(t, err, 4, "the token is not valid")
	_, _, err = run(t, "status", "--server", "127.0.0.1:8450")
	fails(t, err, 2, "no address of a server", "http://127.0.0.1:8450")
	_, _, err = run(t, "status", "--server", "http://127.0.0.1:1")
	fails(t, err, 5, "does not answer", "evenkeel-server serve")

	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	_, _, err = run(t, "status", "--server", stranger.URL)
	fails(t, err, 1, "not Evenkeel's way", "--server")
	polite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer polite.Close()
	_, _, err = run(t, "status", "--server", polite.URL)
	fails(t, err, 1, "Evenkeel's way")
}

func TestExitCodesOfRefusals(t *testing.T) {
	f := func(code string, want int) {
		t.Helper()
		if got := cli.ExitCode(&core.Error{Code: code}); got != want {
			t.Errorf("%s: exit code %d, want %d", code, got, want)
		}
	}
	f(core.CodeTooLarge, 3)
	f("too_many_requests", 5)
}

func TestTokens(t *testing.T) {
	r := start(t)
	r.loop.topology = core.Topology{Sites: []core.Site{{Name: "fra"}, {Name: "ams"}}, Witnesses: []string{"lon"}}
	file := filepath.Join(t.TempDir(), "fra.token")
	out := r.ok("token", "create", "--kind", "site", "--name", "fra", "--out", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(text))
	if strings.Contains(out, token) || !strings.Contains(out, "of site fra is in "+file) {
		t.Errorf("prints %q", out)
	}
	cred, err := r.ledger.Authenticate(t.Context(), token)
	if err != nil || cred.Name != "fra" {
		t.Errorf("the token in the file is of %+v, %v", cred, err)
	}
	count := func() int { return strings.Count(r.ok("token", "list"), "\n") - 1 }
	before := count()
	_, err = r.run("token", "create", "--kind", "site", "--name", "fra", "--out", file)
	fails(t, err, 2, "is there already", "--force")
	_, err = r.run("token", "create", "--kind", "site", "--name", "fra", "--out", filepath.Join(t.TempDir(), "no", "dir"))
	fails(t, err, 2, "cannot be written")
	if count() != before {
		t.Error("a token was made that is written down nowhere")
	}
	_, err = r.run("token", "create", "--kind", "site", "--name", "fro", "--out", filepath.Join(filepath.Dir(file), "bad"))
	fails(t, err, 2, `there is no site "fro"`, "name one of: fra, ams, lon;", "added to the configuration first")
	_, err = r.run("token", "create", "--kind", "edge", "--name", "A B", "--out", filepath.Join(filepath.Dir(file), "bad"))
	fails(t, err, 2, "cannot be named")
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
	r.ok("token", "create", "--kind", "edge", "--name", "director", "--out", file, "--force")
	witness := r.ok("token", "create", "--kind", "site", "--name", "lon")
	if cred, err := r.ledger.Authenticate(t.Context(), strings.TrimSpace(witness)); err != nil || r.ok("token", "revoke", cred.ID) == "" {
		t.Errorf("the token of a witness is of %+v, %v", cred, err)
	}
	printed := strings.TrimSpace(r.ok("token", "create", "--kind", "admin", "--name", "eve", "--expires", "1h"))
	if cred, err := r.ledger.Authenticate(t.Context(), printed); err != nil || cred.ExpiresAt == nil {
		t.Errorf("the printed token is of %+v, %v", cred, err)
	}
	if got := r.ok("token", "revoke", cred.ID); got != "token "+cred.ID+" is revoked\n" {
		t.Errorf("prints %q", got)
	}
	if _, err := r.ledger.Authenticate(t.Context(), token); err == nil {
		t.Error("the revoked token is valid")
	}
	var list []core.Credential
	if err := json.Unmarshal([]byte(r.ok("token", "list", "--output", "json")), &list); err != nil || len(list) != 3 {
		t.Errorf("tokens are %+v, %v", list, err)
	}
}

func TestTokenOverThePlainNetworkIsWarnedOf(t *testing.T) {
	r := start(t)
	_, warnings, err := run(t, "token", "list", "--server", "http://evenkeel.invalid:1", "--data", r.data, "--timeout", "1s")
	fails(t, err, 5)
	if !strings.Contains(warnings, "in the clear") {
		t.Errorf("warnings are %q", warnings)
	}
	text, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil || strings.Contains(warnings, strings.TrimSpace(string(text))) {
		t.Error("the token is in the warning")
	}
}
