package replicationlagreceiver

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// ask sends one line of a command, as somebody when a name is given, and returns the first line of the answer.
func (s *server) ask(as, command string) string {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	lines := []string{command}
	if as != "" {
		lines = []string{"AUTH " + as + " " + sitetest.Word, command}
	}
	var line string
	for _, l := range lines {
		if _, err := fmt.Fprintf(conn, "%s\r\n", l); err != nil {
			s.t.Fatal(err)
		}
		if line, err = answers.ReadString('\n'); err != nil {
			s.t.Fatal(err)
		}
	}
	return strings.TrimSpace(line)
}

// TestHeartbeatRedis: a replica alone, which is not told what its source has written, has bounds by the heartbeat.
func TestHeartbeatRedis(t *testing.T) {
	t.Parallel()
	word := secret(t)
	source := redisServer(t)
	replicatest.Until(t, "the source answers", func() bool { c, err := net.Dial("tcp", source.address()); return err == nil && c.Close() == nil })
	wire := replicatest.NewWire(t, source.address())
	target := redisServer(t, "--replicaof", fmt.Sprintf("127.0.0.1 %d", wire.Port()), "--replica-read-only", "no")
	replicatest.Until(t, "the target answers", func() bool { c, err := net.Dial("tcp", target.address()); return err == nil && c.Close() == nil })
	for _, s := range []*server{source, target} {
		for line := range strings.Lines(strings.ReplaceAll(setUp(t, SetUp{Engine: "redis", Origin: "a", Peers: []string{"b"}}), ">...", ">"+sitetest.Word)) {
			if strings.HasPrefix(line, "ACL") {
				if answer := s.ask("", strings.TrimSpace(line)); answer != "+OK" {
					t.Fatalf("%s: %s", line, answer)
				}
			}
		}
	}
	one := func(s *server, site, end string) map[string]any {
		return map[string]any{
			"engine": "redis", "address": s.address(), "interval": "1s", "timeout": "900ms",
			"links":     []any{map[string]any{"store": "orders", "from": "a", "to": "b", "end": end}},
			"heartbeat": map[string]any{"write": true, "interval": "250ms", "user": "evenkeel_beat", "password_file": word, "origin": site},
		}
	}
	a, b := newAgent(t, "a", 0, one(source, "a", "source")), newAgent(t, "b", 0, one(target, "b", "target"))
	v := b.until("the beats bound the link", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		n, _ := v.of("canary.checked")
		return v.state() == replica.CaughtUp && ok && upper < 3 && n > 50
	})
	if n, ok := v.of("canary.diverged"); !ok || n != 0 {
		t.Errorf("diverged %v %v", n, ok)
	}
	if n, ok := v.of("writer.state"); !ok || Writing(n) != WritingPaused {
		t.Errorf("the writer at the replica is %s", Writing(n))
	}

	wire.Cut(true)
	cut := time.Now()
	v = b.until("the bounds hold the silence", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 4
	})
	holds(t, v, cut)
	wire.Cut(false)
	b.until("the link is well", atoB, "target", func(v told) bool { upper, ok := v.of("lag.upper"); return alive(v) && ok && upper < 3 })

	// A replica that takes writes of its own.
	before, _ := b.last(atoB, "target").of("canary.diverged")
	b.until("the missing rows are told", atoB, "target", func(v told) bool {
		for slot := range 10 { // until beats write them anew
			target.ask("", fmt.Sprintf("DEL evenkeel:canary:a:%d", slot))
		}
		n, _ := v.of("canary.diverged")
		return n > before
	})

	a.losesAll(atoB, func() { source.ask("", "DEL evenkeel:hb:a") })
	b.until("the beats of the new writer bound the link", atoB, "target", func(v told) bool { upper, ok := v.of("lag.upper"); return alive(v) && ok && upper < 3 })

	other := newAgent(t, "a", 0, one(source, "a", "source"))
	// Which of the two gives way is a matter of moments: Redis has no write that compares.
	replicatest.Until(t, "one of the two writers finds the other", func() bool {
		one, two := a.last(atoB, "source"), other.last(atoB, "source")
		return one.reason == string(replica.ReasonSplitBrain) || two.reason == string(replica.ReasonSplitBrain)
	})
	other.stop()
	a.until("it takes over when the other one is still", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingOn })

	for _, command := range []string{
		"SET orders x", "GET orders", "MSET orders x", "MGET orders", "DEL evenkeel:hb:a", "KEYS *", "CONFIG GET *", "REPLICAOF NO ONE", "FLUSHALL",
		"ACL LIST", "EVAL return 0", "PUBLISH evenkeel:x y", "CLIENT LIST", "SHUTDOWN",
	} {
		if answer := source.ask("evenkeel_beat", command); !strings.HasPrefix(answer, "-NOPERM") {
			t.Errorf("%s: %s", command, answer)
		}
	}
	source.ask("", "ACL SETUSER evenkeel_beat -mset")
	a.until("the writer fails", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingFailed })
	replicatest.Until(t, "the log says why", func() bool { return strings.Contains(a.said(), "reason=privilege") })
	a.quiet()
	b.quiet()
}
