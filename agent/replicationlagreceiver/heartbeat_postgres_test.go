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

// TestHeartbeatPostgreSQL: two servers, each of which publishes its own rows to the other.
func TestHeartbeatPostgreSQL(t *testing.T) {
	t.Parallel()
	word := secret(t)
	db := map[string]*sitetest.Postgres{"a": sitetest.StartPostgres(t), "b": sitetest.StartPostgres(t)}
	wires := map[string]*replicatest.Wire{}
	for site, p := range db {
		wires[site] = replicatest.NewWire(t, p.Address())
		p.Do(t, setUp(t, SetUp{Engine: "postgresql", Origin: site, Peers: []string{"x"}}))
		p.Do(t, `CREATE TABLE orders (id bigint PRIMARY KEY, pad text)`)
	}
	for site, other := range map[string]string{"a": "b", "b": "a"} {
		db[site].Do(t, fmt.Sprintf(`CREATE SUBSCRIPTION to_%s CONNECTION 'host=127.0.0.1 port=%d user=admin password=%s dbname=postgres sslmode=disable'
			PUBLICATION evenkeel_%s WITH (copy_data = false)`, site, wires[other].Port(), sitetest.AdminWord, other))
	}
	server := func(site, at string) map[string]any {
		return two(site, map[string]any{"engine": "postgresql", "dsn": db[at].DSN("evenkeel", ""), "password_file": word},
			map[string]any{"write": true, "interval": "250ms", "dsn": db[at].DSN("evenkeel_beat", ""), "password_file": word})
	}
	a, b := newAgent(t, "a", 0, server("a", "a")), newAgent(t, "b", 0, server("b", "b"))
	bounded := func(v told) bool {
		upper, ok := v.of("lag.upper")
		return alive(v) && ok && upper < 3
	}
	b.until("the beats of a bound the link", atoB, "target", func(v told) bool { n, _ := v.of("canary.checked"); return bounded(v) && n > 50 })
	if n, ok := b.last(atoB, "target").of("canary.diverged"); !ok || n != 0 {
		t.Errorf("diverged %v %v", n, ok)
	}
	exposedFor(a, atoB, 5)
	exposedFor(b, btoA, 5)

	// The link is cut.
	wires["a"].Cut(true)
	cut := time.Now()
	a.exposesSince(cut)
	holds(t, b.until("the bounds hold the silence", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 6
	}), cut)
	wires["a"].Cut(false)
	b.until("the link is well", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	// Rows are changed at the copy, and deleted, where logical replication never brings them back.
	diverged := func() float64 { n, _ := b.last(atoB, "target").of("canary.diverged"); return n }
	replicatest.Until(t, "the changed rows are told", func() bool {
		db["b"].Do(t, `UPDATE evenkeel_canary SET value = 'other' WHERE origin_site = 'a'`) // until beats write them anew
		return diverged() > 0
	})
	before := diverged()
	db["b"].Do(t, `DELETE FROM evenkeel_canary WHERE origin_site = 'a' AND slot = 3`)
	replicatest.Until(t, "the missing row is told, again and again", func() bool { return diverged() > before+2 })
	if s := b.last(atoB, "target"); !bounded(s) {
		t.Errorf("replicated but different is a figure of its own: %v %q", s.state(), s.reason)
	}

	// A server that takes no writes.
	writer := func(want Writing) func(told) bool {
		return func(v told) bool { n, ok := v.of("writer.state"); return ok && Writing(n) == want }
	}
	db["b"].Do(t, `ALTER SYSTEM SET default_transaction_read_only = on`)
	db["b"].Do(t, `SELECT pg_reload_conf()`)
	b.until("the writer pauses", btoA, "source", writer(WritingPaused))
	db["b"].Do(t, `SET default_transaction_read_only = off`)
	db["b"].Do(t, `ALTER SYSTEM RESET default_transaction_read_only`)
	db["b"].Do(t, `SELECT pg_reload_conf()`)
	b.until("the writer goes on", btoA, "source", writer(WritingOn))

	// The agent and the database lose what they have of the beats at once.
	a.losesAll(atoB, func() {
		db["a"].Do(t, `DELETE FROM evenkeel_heartbeat WHERE origin_site = 'a'`)
		db["a"].Do(t, `DELETE FROM evenkeel_canary WHERE origin_site = 'a'`)
	})
	b.until("the beats of the new writer bound the link", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	// Two agents write for one site into the same primary.
	other := newAgent(t, "a", 0, server("a", "a"))
	torn(a, atoB, "source")
	if n, _ := a.last(atoB, "source").of("writer.conflicts"); n < 1 {
		t.Errorf("conflicts %v", n)
	}
	other.stop()
	a.until("it takes over when the other one is still", atoB, "source", writer(WritingOn))

	// The account can do nothing but beat.
	for _, statement := range []string{
		"SELECT * FROM orders", "INSERT INTO orders VALUES (1, 'x')", "DELETE FROM evenkeel_heartbeat", "DROP TABLE evenkeel_echo",
		"ALTER TABLE evenkeel_canary ADD x int", "CREATE TABLE public.mine (id int)", "CREATE ROLE x", "SELECT pg_read_file('PG_VERSION')",
		"SELECT * FROM pg_authid", "TRUNCATE evenkeel_echo", "COPY evenkeel_echo TO '/tmp/evenkeel-x'", "ALTER SYSTEM SET work_mem = '1MB'",
		"SELECT pg_promote()", "SELECT pg_switch_wal()", "SELECT subconninfo FROM pg_subscription",
	} {
		if err := db["a"].As(t, "evenkeel_beat", statement); err == nil {
			t.Errorf("the account may %s", statement)
		}
	}
	db["a"].Do(t, `REVOKE INSERT ON evenkeel_echo FROM evenkeel_beat`)
	a.until("the writer fails", atoB, "source", writer(WritingFailed))
	replicatest.Until(t, "the log says why", func() bool { return strings.Contains(a.said(), "reason=privilege") })
	a.quiet()
	b.quiet()
}
