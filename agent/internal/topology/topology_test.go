package topology

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// state builds the JSON of a state with one good probe.
func state(cluster string, epoch, revision int, site string) []byte {
	return fmt.Appendf(nil, `{"cluster_id":%q,"epoch":%d,"revision":%d,"site":%q,"kind":"site","sites":["fra"],
		"probes":[{"name":"checkout-http","target_site":"ams","service":"checkout","path":"user","kind":"http",
		"url":"https://ams.example.net/healthz","interval_ms":1000,"deadline_ms":800,"phase_ms":2250}],
		"desired":[],"servers":[],"from_the_future":{"x":1}}`, cluster, epoch, revision, site)
}

func parsed(t *testing.T, raw []byte) State {
	t.Helper()
	s, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := parsed(t, state("c", 2, 7, "fra"))
	if len(s.Probes) != 1 || s.At != (Revision{ClusterID: "c", Epoch: 2, Revision: 7}) || s.Site != "fra" {
		t.Fatalf("read as %+v", s)
	}
	p := s.Probes[0]
	if p.Interval != time.Second || p.Deadline != 800*time.Millisecond || p.Phase != 250*time.Millisecond {
		t.Errorf("times of the probe: %v %v %v", p.Interval, p.Deadline, p.Phase)
	}
	f := func(raw, want string) {
		t.Helper()
		if _, err := Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q in it", raw, err, want)
		}
	}
	f(`null`, "cluster_id")
	f(`[]`, "expected JSON")
	f(`{"cluster_id":"c","epoch":-1,"site":"fra"}`, "negative")
	f(`{"cluster_id":"c","epoch":1}`, "no site")
	f(strings.Repeat(" ", MaxBytes+1), "longer than")
}

func TestAProbeThatCannotBeMadeIsLeftOut(t *testing.T) {
	f := func(change, want string) {
		t.Helper()
		raw := `{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[
			{"name":"n","target_site":"ams","service":"s","kind":"http","url":"http://a"},
			{"name":"m","target_site":"ams","service":"s","kind":"http","url":"http://a",` + change + `}]}`
		s := parsed(t, []byte(raw))
		if len(s.Probes) != 1 || len(s.Refused) != 1 || !strings.Contains(s.Refused[0], want) {
			t.Errorf("%s: %d probes, refused %q, want %q", change, len(s.Probes), s.Refused, want)
		}
	}
	f(`"path":"scenic"`, "user or private")
	f(`"interval_ms":10`, "not between 500 and 3600000")
	f(`"deadline_ms":1`, "not between")
	f(`"phase_ms":-1`, "out of range")
	f(`"service":""`, "must be given")
	f(`"name":"n"`, "twice")
}

// What a newer server asks for and this agent does not know stays visible, as a probe that is unknown.
func TestAProbeThatIsNotUnderstoodKeepsItsPlace(t *testing.T) {
	f := func(change, want string) {
		t.Helper()
		raw := `{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[
			{"name":"n","target_site":"ams","service":"s","kind":"http","url":"http://a"},
			{"name":"m","target_site":"ams","service":"s",` + change + `}]}`
		s := parsed(t, []byte(raw))
		if len(s.Probes) != 2 || s.Probes[0].Flaw != "" || !strings.Contains(s.Probes[1].Flaw, want) ||
			s.Probes[1].Name != "m" || s.Probes[1].Interval != time.Second || len(s.Refused) != 1 {
			t.Errorf("%s: %+v, refused %q, want %q", change, s.Probes, s.Refused, want)
		}
	}
	f(`"kind":"quic","url":"quic://a:1"`, "not one of dns, grpc, http")
	f(`"kind":"http","url":"gopher://a"`, "must start with http://")
	f(`"kind":"http-expect","url":"http://a","options":{"status":["200"],"header":"x"}`, "not understood")
	f(`"kind":"http-expect","url":"http://a","options":{"status":[200]}`, "not understood")
	f(`"kind":"http-expect","url":"http://a","options":{"body_regexp":"("}`, "body_regexp")
	f(`"kind":"tcp","url":"tcp://a:1","options":{"alpn":"h2"}`, "alpn is for")
}

func TestOptionsMakeAnotherProbe(t *testing.T) {
	probe := func(options string) Probe {
		t.Helper()
		s := parsed(t, []byte(`{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[{"name":"m","target_site":"ams",
			"service":"s","kind":"http-expect","url":"http://a","options":`+options+`}]}`))
		if len(s.Probes) != 1 || s.Probes[0].Flaw != "" {
			t.Fatalf("%s: %+v", options, s)
		}
		return s.Probes[0]
	}
	if a := probe(`{"status":["200"],"body":"ok"}`); !a.Same(probe(`{"body": "ok", "status": ["200"]}`)) || a.Same(probe(`{"status":["2xx"],"body":"ok"}`)) ||
		a.Same(Probe{}) {
		t.Error("probes are told apart by what they expect")
	}
}

func TestOnlyNewerIsTaken(t *testing.T) {
	var b Board
	offer := func(server, cluster string, epoch, revision int, want error) {
		t.Helper()
		before, _, changed := b.Current()
		err := b.Offer(server, "fra", parsed(t, state(cluster, epoch, revision, "fra")), nil)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s %d/%d: %v, want %v", cluster, epoch, revision, err, want)
		}
		after, _, _ := b.Current()
		select {
		case <-changed:
			if err != nil {
				t.Error("a refused state was announced")
			}
		default:
			if err == nil || before.At != after.At {
				t.Error("a taken state was not announced")
			}
		}
	}
	offer("a", "c", 1, 5, nil)
	offer("a", "c", 1, 4, ErrOlder)
	offer("b", "c", 1, 5, ErrSame)
	offer("b", "c", 0, 9, ErrOlder)
	offer("b", "c", 2, 1, nil) // a restored ledger counts from a higher epoch
	offer("a", "c", 1, 6, ErrOlder)
	offer("a", "other", 9, 9, ErrCluster) // b still answers for c
	b.Lost("b")
	offer("a", "other", 1, 1, nil) // nobody does any more: the server was rebuilt
	offer("b", "c", 2, 2, ErrCluster)
	offer("", "c", 9, 9, ErrCluster) // what is on disk has no voice
	if err := b.Offer("a", "fra", parsed(t, state("other", 3, 3, "ams")), nil); !errors.Is(err, ErrSite) {
		t.Errorf("a state for another site: %v", err)
	}
	disk := errors.New("disk full")
	err := b.Offer("a", "fra", parsed(t, state("other", 3, 3, "fra")), func([]byte) error { return disk })
	if now, _, _ := b.Current(); !errors.Is(err, disk) || now.At.Revision != 1 {
		t.Errorf("a state that could not be kept: %v, in use %v", err, now.At)
	}
}

// With three servers the agent follows most of those that answer, whichever it hears first.
func TestMostServersNameTheCluster(t *testing.T) {
	var b Board
	servers := []string{"r1", "r2", "r3"}
	for _, s := range servers {
		b.Expect(s)
	}
	offer := func(server, cluster string, epoch, revision int, want error) {
		t.Helper()
		err := b.Offer(server, "fra", parsed(t, state(cluster, epoch, revision, "fra")), nil)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s offers %s %d/%d: %v, want %v", server, cluster, epoch, revision, err, want)
		}
	}
	confirm := func(servers ...string) {
		state, _, _ := b.Current()
		for _, s := range servers {
			b.Confirm(s, state.At)
		}
	}
	offer("", "c", 1, 5, nil) // from disk
	// One that begins a ledger of its own is not followed, also not before the others were heard.
	offer("r1", "own", 1, 1, ErrCluster)
	b.Lost("r3") // r2 may still answer
	offer("r1", "own", 1, 1, ErrCluster)
	confirm("r2", "r3")
	offer("r1", "own", 1, 1, ErrCluster)

	// A restored ledger has a higher epoch. Whoever lags has nothing newer to say.
	offer("r2", "c", 2, 1, nil)
	offer("r3", "c", 1, 9, ErrOlder)
	confirm("r3")
	offer("r3", "c", 2, 1, ErrSame)

	// It is adopted under another name: the agent follows when a second replica says so, with one left behind.
	asked, _, _ := b.Current()
	confirm("r1", "r2", "r3")
	offer("r1", "d", 3, 1, ErrCluster)
	offer("r2", "d", 3, 1, nil)
	offer("r3", "c", 2, 7, ErrCluster)
	offer("r3", "d", 3, 2, nil)
	// The answer to a question that was asked before the change speaks for the cluster it was asked about.
	b.Confirm("r3", asked.At)
	offer("r1", "c", 2, 8, nil)
	offer("r1", "d", 3, 2, nil)
	offer("r3", "d", 3, 2, ErrSame)

	// Two die, and the one that is left is rebuilt.
	b.Lost("r2")
	b.Lost("r3")
	offer("r1", "new", 1, 1, nil)
}

func TestTheStateSurvivesOnDisk(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := Load(dir); ok || err != nil {
		t.Fatalf("an empty directory: %v %v", ok, err)
	}
	var b Board
	keep := func(raw []byte) error { return Keep(dir, raw) }
	for revision := 1; revision <= 3; revision++ {
		if err := b.Offer("a", "fra", parsed(t, state("c", 1, revision, "fra")), keep); err != nil {
			t.Fatal(err)
		}
	}
	s, ok, err := Load(dir)
	if !ok || err != nil || s.At.Revision != 3 || len(s.Probes) != 1 {
		t.Fatalf("read back %+v, %v, %v", s.At, ok, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are left in the directory", len(files))
	}
	// After a restart an old answer of a server that lags behind is refused.
	var next Board
	if err := next.Offer("", "fra", s, nil); err != nil {
		t.Fatal(err)
	}
	if err := next.Offer("a", "fra", parsed(t, state("c", 1, 2, "fra")), keep); !errors.Is(err, ErrOlder) {
		t.Errorf("an older revision after a restart: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(`{"cluster`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Load(dir); ok || err == nil {
		t.Error("half a file was taken for a state")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(state("c", 1, 2, "fra"))
	f.Add([]byte(`{"cluster_id":"c","site":"x","probes":[{"kind":"tcp","url":"a:1","name":"n","service":"s","target_site":"t"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			return
		}
		for _, p := range s.Probes {
			if (p.Question.URL == nil) != (p.Flaw != "") || p.Interval < 500*time.Millisecond || p.Deadline <= 0 || p.Phase < 0 || p.Phase >= p.Interval {
				t.Fatalf("a probe that cannot run: %+v", p)
			}
		}
		if again, err := Parse(s.raw); err != nil || again.At != s.At || len(again.Probes) != len(s.Probes) {
			t.Fatalf("kept state reads differently: %v", err)
		}
	})
}

// What the servers of this version send, by the file that their tests write.
func TestTheStateOfAServerIsRead(t *testing.T) {
	raw, err := os.ReadFile("../../../server/internal/app/testdata/agent-state.json")
	if err != nil {
		t.Fatal(err)
	}
	s := parsed(t, raw)
	kinds := map[string]string{}
	for _, p := range s.Probes {
		kinds[p.TargetSite+" "+p.Name+" "+p.Path] = p.Question.Kind
	}
	if len(s.Refused) > 0 || len(s.Probes) != 6 || kinds["fra checkout-http user"] != "http" || kinds["ams checkout-http user"] != "http-expect" ||
		kinds["ams api user"] != "grpc" || kinds["ams orders-db private"] != "tls" || kinds["ams names private"] != "dns" {
		t.Errorf("read %v, refused %q", kinds, s.Refused)
	}
}
