package replicationlagreceiver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// TestHeartbeatNATS: two servers whose streams are mirrored at the other one. Neither agent sees the other's server.
func TestHeartbeatNATS(t *testing.T) {
	t.Parallel()
	word := secret(t)
	user := func(site, copied string) string {
		text := setUp(t, SetUp{Engine: "nats", Origin: site, Peers: []string{"x"}, Copy: copied})
		_, rest, _ := strings.Cut(text, "users: [")
		end := strings.LastIndex(rest, "]")
		looks := fmt.Sprintf(`{user: evenkeel, password: %s, permissions: {publish: ["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"], subscribe: ["_INBOX_evenkeel.>"]}}`, sitetest.Word)
		return looks + "\n" + strings.ReplaceAll(rest[:end], `"..."`, `"`+sitetest.Word+`"`)
	}
	nodeA := sitetest.StartNATS(t, "a", 0, user("a", "ORDERS-b"))
	wire := replicatest.NewWire(t, fmt.Sprintf("127.0.0.1:%d", nodeA.Leaf))
	nodeB := sitetest.StartNATS(t, "b", wire.Port(), user("b", "ORDERS-a"))
	nodeA.Stream(t, "ORDERS", "orders.a.>", "evenkeel.hb.a", "evenkeel.echo.a.*")
	nodeB.Stream(t, "ORDERS", "orders.b.>", "evenkeel.hb.b", "evenkeel.echo.b.*")
	nodeA.Mirror(t, "ORDERS-b", "ORDERS", nodeB)
	nodeB.Mirror(t, "ORDERS-a", "ORDERS", nodeA)
	server := func(n *sitetest.NATS, site, other string) map[string]any {
		return map[string]any{
			"engine": "nats", "address": n.Address(), "user": "evenkeel", "password_file": word, "interval": "1s", "timeout": "900ms",
			"links": []any{
				map[string]any{"store": "orders", "from": site, "to": other, "channel": "ORDERS", "peer": "ORDERS-" + site, "end": "source"},
				map[string]any{"store": "orders", "from": other, "to": site, "channel": "ORDERS", "peer": "ORDERS-" + other, "end": "target"},
			},
			"heartbeat": map[string]any{"write": true, "interval": "250ms", "user": "evenkeel_beat", "password_file": word, "stream": "ORDERS"},
		}
	}
	a, b := newAgent(t, "a", 0, server(nodeA, "a", "b")), newAgent(t, "b", 0, server(nodeB, "b", "a"))
	bounded := func(v told) bool {
		upper, ok := v.of("lag.upper")
		return alive(v) && ok && upper < 3
	}
	b.until("the beats bound the link", atoB, "target", bounded)
	a.until("the other way too", btoA, "target", bounded)
	// Nothing is written but beats, and each one that comes completes the copy.
	var before time.Time
	for range 3 {
		before = b.until("complete by the beats", atoB, "target", func(v told) bool {
			return (v.state() == replica.CaughtUp || v.state() == replica.IdleLinkOK) && v.at.After(before)
		}).at
	}
	exposedFor(a, atoB, 5)
	exposedFor(b, btoA, 5)

	wire.Cut(true)
	cut := time.Now()
	a.exposesSince(cut)
	v := b.until("the bounds hold the silence", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 6
	})
	holds(t, v, cut)
	wire.Cut(false)
	// A server tries again after ten seconds and more.
	b.until("the link is well", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	a.losesAll(atoB, func() { nodeA.Purge(t, "ORDERS", "evenkeel.hb.a") })
	b.until("the beats of the new writer bound the link", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	other := newAgent(t, "a", 0, server(nodeA, "a", "b"))
	torn(a, atoB, "source")
	other.stop()
	a.until("it takes over when the other one is still", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingOn })

	for _, subject := range []string{"orders.a.x", "evenkeel.hb.b", "evenkeel.echo.b.a", "$JS.API.STREAM.DELETE.ORDERS", "$JS.API.STREAM.PURGE.ORDERS", "$JS.API.STREAM.INFO.ORDERS-copy", "$JS.API.CONSUMER.CREATE.ORDERS"} {
		if !nodeA.Denied(t, "evenkeel_beat", subject) {
			t.Errorf("the account may publish to %s", subject)
		}
	}
	a.quiet()
	b.quiet()
}
