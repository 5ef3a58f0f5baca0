package postgresql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// span is a moment that is known to lie between two others.
type span struct{ from, to time.Time }

// journal is what really happened: when row i was committed, and when it became visible at a copy. The one writer and
// the one reader each have their own list.
type journal struct {
	committed []span
	visible   []span
}

// lag encloses the true lag at a moment: the age of the oldest row that is committed and not visible, else 0.
func (j *journal) lag(at time.Time) (least, most time.Duration) {
	for i, c := range j.committed {
		if i >= len(j.visible) || at.Before(j.visible[i].from) {
			if !at.Before(c.to) {
				least = max(least, at.Sub(c.to))
			}
		}
		if i >= len(j.visible) || at.Before(j.visible[i].to) {
			if !at.Before(c.from) {
				most = max(most, at.Sub(c.from))
			}
		}
	}
	return least, most
}

// load writes row after row, with pauses and bursts, until the context ends.
func load(ctx context.Context, conn *pgx.Conn, journals ...*journal) error {
	for i := 0; ctx.Err() == nil; i++ {
		rows := 1
		if i%100 == 50 {
			rows = 2000 // one transaction that takes its time
		}
		from := time.Now()
		_, err := conn.Exec(context.WithoutCancel(ctx),
			`INSERT INTO truth SELECT $1::bigint, CASE WHEN g = 1 THEN $1::bigint END, repeat('x', 300) FROM generate_series(1, $2::int) g`, i, rows)
		if err != nil {
			return err
		}
		row := span{from, time.Now()}
		for _, j := range journals {
			j.committed = append(j.committed, row)
		}
		time.Sleep(time.Duration(2+i%17) * time.Millisecond)
	}
	return nil
}

// observe polls a copy for the newest row. One writer at a time commits, so what is visible is a prefix.
func (j *journal) observe(ctx context.Context, conn *pgx.Conn) error {
	before := time.Now()
	for ctx.Err() == nil {
		began := time.Now()
		var newest int
		if err := conn.QueryRow(context.WithoutCancel(ctx), `SELECT COALESCE(max(seen), -1) FROM truth`).Scan(&newest); err != nil {
			return err
		}
		ended := time.Now()
		for len(j.visible) <= newest {
			j.visible = append(j.visible, span{before, ended})
		}
		before = began
		time.Sleep(time.Millisecond)
	}
	return nil
}

// TestTruth compares what is reported with what really happened, at a standby and at a subscriber.
func TestTruth(t *testing.T) {
	w := newWorld(t)
	p := w.primary
	p.do(t, "postgres", `CREATE TABLE truth (id bigint, seen bigint UNIQUE, pad text)`)
	p.do(t, "postgres", `CREATE DATABASE copy`)
	p.do(t, "copy", `CREATE TABLE truth (id bigint, seen bigint UNIQUE, pad text)`)
	p.do(t, "postgres", `CREATE PUBLICATION truths FOR TABLE truth`)
	p.do(t, "postgres", `SELECT pg_create_logical_replication_slot('copy_slot', 'pgoutput')`)
	p.do(t, "copy", fmt.Sprintf(`CREATE SUBSCRIPTION copy CONNECTION '%s password=%s user=admin application_name=copy' PUBLICATION truths
		WITH (create_slot = false, slot_name = 'copy_slot')`, w.wire.conninfo(), adminPassword))
	link := LinkSpec{Store: "orders", From: "fra", To: "lon", Channel: "copy", End: replica.Source}
	watchers := map[string]*watcher{"standby, source": w.source, "standby, target": w.target}
	watchers["subscriber, source"] = watch(t, p.dsn("evenkeel", canary, "postgres"), link)
	link.End = replica.Target
	watchers["subscriber, target"] = watch(t, p.dsn("evenkeel", canary, "copy"), link)
	for name, one := range watchers {
		one.reach(t, name, replica.CaughtUp, "")
	}
	until(t, "the table arrives", func() bool {
		var n int
		conn := w.standby.conn(t, "postgres")
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relname = 'truth'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	var atStandby, atSubscriber journal
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	failures := make(chan error, 3)
	writer, one, other := p.conn(t, "postgres"), w.standby.conn(t, "postgres"), p.conn(t, "copy")
	wg.Go(func() { failures <- load(ctx, writer, &atStandby, &atSubscriber) })
	wg.Go(func() { failures <- atStandby.observe(ctx, one) })
	wg.Go(func() { failures <- atSubscriber.observe(ctx, other) })

	seen := map[string][]replica.Status{}
	phase := func(long time.Duration) {
		for end := time.Now().Add(long); time.Now().Before(end); {
			for name, one := range watchers {
				_, st := one.look(t)
				seen[name] = append(seen[name], st)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	phase(3 * time.Second)
	w.standby.do(t, "postgres", `SELECT pg_wal_replay_pause()`)
	phase(3 * time.Second)
	w.standby.do(t, "postgres", `SELECT pg_wal_replay_resume()`)
	phase(2 * time.Second)
	w.wire.hold()
	phase(3 * time.Second)
	w.wire.release()
	phase(3 * time.Second)
	w.wire.sever()
	phase(3 * time.Second)
	w.wire.heal()
	phase(3 * time.Second)
	stop()
	wg.Wait()
	for range 3 {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
	for name := range watchers {
		j := &atStandby
		if strings.HasPrefix(name, "subscriber") {
			j = &atSubscriber
		}
		j.compare(t, name, seen[name])
	}
	p.do(t, "copy", `DROP SUBSCRIPTION copy`)
}

// some is the least lower bound of a link that is down: it stands for "not 0".
const some = time.Millisecond

func (j *journal) compare(t *testing.T, name string, seen []replica.Status) {
	t.Helper()
	var right, wrong, open, none int
	var width time.Duration
	var bounded int
	for _, st := range seen {
		if !st.Lower.OK {
			none++
			continue
		}
		least, most := j.lag(st.At)
		if st.Upper.OK {
			width += st.Upper.V - st.Lower.V
			bounded++
		}
		switch {
		case st.Lower.V > max(most, some) || (st.Upper.OK && st.Upper.V < least):
			wrong++
			t.Logf("%s wrong: %v(%s) [%v, %v], truth [%v, %v]", name, st.State, st.Reason, st.Lower.V, st.Upper, least, most)
		case st.Lower.V <= max(least, some) && (!st.Upper.OK || st.Upper.V >= most):
			right++
		default:
			open++
		}
	}
	if right+wrong == 0 || bounded == 0 {
		t.Fatalf("%s: no sample could be judged", name)
	}
	coverage := float64(right) / float64(right+wrong)
	t.Logf("%s: %d samples, right %d, wrong %d, undecided %d, without bounds %d; coverage %.4f %%, mean width %v", name, len(seen), right, wrong,
		open, none, 100*coverage, width/time.Duration(bounded))
	if coverage < 0.999 {
		t.Errorf("%s: coverage %.4f, want 0.999", name, coverage)
	}
}
