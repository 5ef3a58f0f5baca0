package postgresql

import (
	"fmt"
	"testing"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// logical: the subscriber is another database of the same server, so that its wire can be cut alone.
func logical(t *testing.T, w *world) {
	p := w.primary
	p.do(t, "postgres", `CREATE DATABASE copy`)
	p.do(t, "copy", `CREATE TABLE load (id bigint PRIMARY KEY, pad text)`)
	p.do(t, "postgres", `CREATE PUBLICATION loads FOR TABLE load`)
	p.do(t, "postgres", `SELECT pg_create_logical_replication_slot('copy_slot', 'pgoutput')`)
	p.do(t, "copy", `GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO evenkeel`)
	wire := replicatest.NewWire(t, fmt.Sprintf("127.0.0.1:%d", p.port))
	p.do(t, "copy", fmt.Sprintf(`CREATE SUBSCRIPTION copy CONNECTION '%s password=%s user=admin' PUBLICATION loads
		WITH (create_slot = false, slot_name = 'copy_slot')`, conninfo(wire), adminPassword))
	link := LinkSpec{Store: "orders", From: "fra", To: "lon", Channel: "copy", End: replica.Target}
	target := watch(t, p.dsn("evenkeel", canary, "copy"), link)
	link.End = replica.Source
	link.Peer = "copy_slot"
	source := watch(t, p.dsn("evenkeel", canary, "postgres"), link)
	target.reach(t, "subscribed", replica.CaughtUp, "")
	arrive := func(what string) {
		t.Helper()
		w.write(t)
		replicatest.Until(t, what, func() bool { return p.has(t, "copy", w.next) })
		target.reach(t, what, replica.CaughtUp, "")
		s, _ := source.reach(t, what, replica.CaughtUp, "")
		if _, ok := measure(s, "slot.unconfirmed"); !ok {
			t.Error("a logical slot without unconfirmed bytes")
		}
	}
	arrive("first row")

	wire.Cut(true)
	target.reach(t, "cut", replica.LinkDown, "")
	source.reach(t, "cut", replica.LinkDown, "")
	w.write(t)
	target.grows(t, 1e8)
	wire.Cut(false)
	arrive("healed")

	p.do(t, "copy", `ALTER SUBSCRIPTION copy DISABLE`)
	target.reach(t, "disabled", replica.ApplierStopped, replica.ReasonPaused)
	p.do(t, "copy", `ALTER SUBSCRIPTION copy ENABLE`)
	arrive("enabled")

	// A row that is there already: the worker fails, starts again and fails for ever.
	p.do(t, "copy", `INSERT INTO load VALUES ($1, 'mine')`, w.next+1)
	w.write(t)
	if p.major < 15 { // it counts no errors: a worker that fails over and over is only seen not to run
		target.reach(t, "a conflict", replica.LinkDown, "")
	} else {
		s, _ := target.reach(t, "a conflict", replica.ApplierStopped, replica.ReasonError)
		if n, ok := measure(s, "subscription.errors"); !ok || n < loops {
			t.Errorf("subscription.errors is %v %v", n, ok)
		}
	}
	p.do(t, "copy", `DELETE FROM load WHERE id = $1`, w.next)
	arrive("the conflict is gone")

	other := link
	other.End, other.Peer = replica.Target, "nothing"
	if s, _ := watch(t, p.dsn("evenkeel", canary, "copy"), other).look(t); s.State != replica.Unknown || s.Reason != replica.ReasonMisconfigured {
		t.Errorf("a subscription that is not there: %v(%s)", s.State, s.Reason)
	}
	p.do(t, "copy", `DROP SUBSCRIPTION copy`)
}
