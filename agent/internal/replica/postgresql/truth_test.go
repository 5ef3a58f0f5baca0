package postgresql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// newest asks a copy how many of the writes can be read there. One writer commits, so what is visible is a prefix.
func newest(conn *pgx.Conn) func() (int, error) {
	return func() (n int, err error) {
		err = conn.QueryRow(context.Background(), `SELECT COALESCE(max(seen) + 1, 0) FROM truth`).Scan(&n)
		return n, err
	}
}

// TestTruth compares what is reported with what really happened, at a standby and, where that is looked at, at a subscriber.
func TestTruth(t *testing.T) { each(t, truth) }

func truth(t *testing.T, bin string) {
	w := newWorld(t, bin)
	p := w.primary
	p.do(t, "postgres", `CREATE TABLE truth (id bigint, seen bigint UNIQUE, pad text)`)
	w.arrive(t, "the table")
	writer := p.conn(t, "postgres")
	tr := replicatest.NewTruth(t, func(i int) error {
		rows := 1
		if i%100 == 50 {
			rows = 2000 // one transaction that takes its time
		}
		_, err := writer.Exec(context.Background(),
			`INSERT INTO truth SELECT $1::bigint, CASE WHEN g = 1 THEN $1::bigint END, repeat('x', 300) FROM generate_series(1, $2::int) g`, i, rows)
		return err
	})
	watched := func(name string, one *watcher, at *replicatest.Copy) {
		t.Helper()
		one.reach(t, name, replica.CaughtUp, "")
		tr.Watch(name, func() (replica.Status, time.Time) { _, st := one.look(t); return st, one.began }, at)
	}
	standby := tr.Copy(newest(w.standby.conn(t, "postgres")))
	watched("postgresql standby, source", w.source, standby)
	watched("postgresql standby, target", w.target, standby)
	if p.major >= 14 {
		subscribe(t, w)
		link := LinkSpec{Store: "orders", From: "fra", To: "lon", Channel: "copy", End: replica.Source}
		subscriber := tr.Copy(newest(p.conn(t, "copy")))
		watched("postgresql subscriber, source", watch(t, p.dsn("evenkeel", canary, "postgres"), link), subscriber)
		link.End = replica.Target
		watched("postgresql subscriber, target", watch(t, p.dsn("evenkeel", canary, "copy"), link), subscriber)
	}
	tr.Beside("prometheus-postgres-exporter", "pg_replication_lag",
		[]string{"--web.listen-address=LISTEN", "--extend.query-path=/usr/share/doc/prometheus-postgres-exporter/examples/queries.yaml", "--disable-settings-metrics"},
		[]string{"DATA_SOURCE_NAME=" + w.standby.dsn("admin", adminPassword, "postgres")}, standby)

	tr.Run(
		replicatest.Step{For: 3 * time.Second},
		replicatest.Step{For: 3 * time.Second, Do: func() { w.standby.do(t, "postgres", `SELECT pg_wal_replay_pause()`) }},
		replicatest.Step{For: 2 * time.Second, Do: func() { w.standby.do(t, "postgres", `SELECT pg_wal_replay_resume()`) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { w.wire.Hold(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { w.wire.Hold(false) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { w.wire.Cut(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { w.wire.Cut(false) }},
	)
	if p.major >= 14 {
		p.do(t, "copy", `DROP SUBSCRIPTION copy`)
	}
}

// subscribe makes a subscriber, which is another database of the same server, by way of the same wire.
func subscribe(t *testing.T, w *world) {
	t.Helper()
	p := w.primary
	p.do(t, "postgres", `CREATE DATABASE copy`)
	p.do(t, "copy", `CREATE TABLE truth (id bigint, seen bigint UNIQUE, pad text)`)
	p.do(t, "postgres", `CREATE PUBLICATION truths FOR TABLE truth`)
	p.do(t, "postgres", `SELECT pg_create_logical_replication_slot('copy_slot', 'pgoutput')`)
	p.do(t, "copy", fmt.Sprintf(`CREATE SUBSCRIPTION copy CONNECTION '%s password=%s user=admin application_name=copy' PUBLICATION truths
		WITH (create_slot = false, slot_name = 'copy_slot')`, conninfo(w.wire), adminPassword))
}

// noSecret fails when a text that people may see holds a password.
func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, word := range []string{canary, adminPassword, "repl-word"} {
		if strings.Contains(text, word) {
			t.Fatalf("a password is shown: %s", text)
		}
	}
}
