package contract

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replicated starts two real Redis servers, one of which copies the other, and writes the file with which an agent looks
// at both ends of the link.
func replicated(t *testing.T, logs *safeBuffer) (file string, from *program) {
	t.Helper()
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server is missing: install it with deploy/setup.sh test (%v)", err)
	}
	port := func() string {
		_, port, _ := net.SplitHostPort(freeAddr(t))
		return port
	}
	source, target := port(), port()
	begin := func(args ...string) *program {
		return launch(t, logs, redis, append([]string{"--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--repl-diskless-sync-delay", "0"}, args...)...)
	}
	from = begin("--port", source)
	begin("--port", target, "--replicaof", "127.0.0.1 "+source)
	file = filepath.Join(t.TempDir(), "replication.yaml")
	text := fmt.Sprintf(`- engine: redis
  address: 127.0.0.1:%[2]s
  interval: 1s
  timeout: 900ms
  other_end: {address: "127.0.0.1:%[1]s"}
  links: [{store: cart, from: ams, to: fra, end: target}]
- engine: redis
  address: 127.0.0.1:%[1]s
  interval: 1s
  timeout: 900ms
  heartbeat: {write: true, origin: ams}
  links: [{store: cart, from: ams, to: fra, end: source}]
`, source, target)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, from
}

// linksAreShown checks what is told of the link at /api/v1/links and by the command, alive and once its source is dead.
func linksAreShown(t *testing.T, s *server, source *program) {
	t.Helper()
	const cart = "cart:ams>fra"
	type view struct {
		Link, End, State, Writer string
		Lower                    *float64 `json:"lag_lower_seconds"`
		Upper                    *float64 `json:"lag_upper_seconds"`
		Exposure                 *float64 `json:"exposure_seconds"`
	}
	var last []view
	seen := func(end string, ok func(view) bool) func() bool {
		return func() bool {
			last = nil // what is absent must not be left from before
			s.get("/api/v1/links", &last)
			last = slices.DeleteFunc(last, func(v view) bool { return v.Link != cart })
			if n := len(last); n > 2 {
				t.Fatalf("%d ends of one link: %+v", n, last)
			}
			return slices.ContainsFunc(last, func(v view) bool { return v.Writer == "fra" && v.End == end && ok(v) })
		}
	}
	var judged struct {
		Links []struct {
			Link, State, Reason, Sentence string
			Declared                      bool
			Lower                         *float64 `json:"lag_lower_seconds"`
			Upper                         *float64 `json:"lag_upper_seconds"`
			Exposure                      *float64 `json:"exposure_seconds"`
			RPO                           float64  `json:"rpo_seconds"`
			Ends                          []struct{ End, Writer string }
		}
		Assessments []struct {
			Subject  struct{ Site string }
			Evidence []struct{ Class, Source string }
		}
	}
	together := func(state string, bounded bool, exposed float64) func() bool {
		return func() bool {
			judged.Links, judged.Assessments = nil, nil
			s.get("/api/v1/conditions", &judged)
			i := 0
			for i < len(judged.Links) && judged.Links[i].Link != cart {
				i++
			}
			if i == len(judged.Links) {
				return false
			}
			l := judged.Links[i]
			return l.State == state && l.Declared && l.RPO == 5 && len(l.Ends) == 2 && l.Lower != nil &&
				(l.Upper != nil) == bounded && l.Exposure != nil && *l.Exposure >= exposed
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("links: %+v\njudged: %+v", last, judged)
		}
	})
	well := func(v view) bool {
		return (v.State == "caught_up" || v.State == "idle_link_ok") && v.Lower != nil && *v.Lower == 0 && v.Upper != nil && v.Exposure != nil
	}
	until(t, "both ends are caught up", func() bool { return seen("target", well)() && seen("source", well)() })
	until(t, "both ends together are caught up", func() bool {
		return together("caught_up", true, 0)() || together("idle_link_ok", true, 0)()
	})
	if n := len(s.query(`evenkeel_replication_lag_upper_seconds{end="target",link="` + cart + `"}`)); n != 1 {
		t.Errorf("the figure of one end makes %d series", n)
	}
	source.kill()
	until(t, "the link is down, its lower bound grows, and nothing bounds it from above", seen("target", func(v view) bool {
		return v.State == "link_down" && v.Lower != nil && *v.Lower > 1 && v.Upper == nil && v.Exposure != nil && *v.Exposure > 1
	}))
	until(t, "its source is unknown, without a figure", seen("source", func(v view) bool {
		return v.State == "unknown" && v.Lower == nil && v.Upper == nil
	}))
	until(t, "the link is down for the judge as well, and what would be lost goes past the objective", together("link_down", false, 5))
	told := 0
	for _, a := range judged.Assessments {
		for _, e := range a.Evidence {
			if e.Class == "link" && e.Source == cart && (a.Subject.Site == "ams" || a.Subject.Site == "fra") {
				told++
			}
		}
	}
	if told != 2 {
		t.Errorf("%d of 2 sites are told of their link", told)
	}
	if out := s.order("links", "--ends"); !strings.Contains(out, "END") || !strings.Contains(out, "target") {
		t.Errorf("the command says of the ends:\n%s", out)
	}
	if out := s.order("links"); !strings.Contains(out, "link_down") || !strings.Contains(out, "s or more") {
		t.Errorf("the command says:\n%s", out)
	}
}
