package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driverpkg "github.com/go-sql-driver/mysql"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// answers are what a server answered to statements, in the files of testdata: after comments that tell the server, each
// statement in one line and its rows below it, as the client prints them with \G.
type answers struct {
	real driver.Connector // nil: played back, from of
	of   map[string]*table
	all  []*table // in the order of asking
}

type table struct {
	statement string
	columns   []string
	rows      [][]driver.Value // nil or a text
}

// play lets an engine ask recorded answers instead of a server.
func play(t *testing.T, name string, o Options) *Engine {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	a := &answers{of: map[string]*table{}}
	var now *table
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		column, value, ok := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "# "):
		case column == "statement":
			now = &table{statement: value}
			a.of[value] = now
		case column == "columns" && now.rows == nil:
			if value != "" { // else it was refused
				now.columns = strings.Split(value, " | ")
			}
		case strings.HasPrefix(line, "***"):
			now.rows = append(now.rows, nil)
		case ok && now != nil && len(now.rows) > 0:
			v := driver.Value(strings.ReplaceAll(value, `\n`, "\n"))
			if value == null {
				v = nil
			}
			last := &now.rows[len(now.rows)-1]
			*last = append(*last, v)
		default:
			t.Fatalf("%s: line %q", name, line)
		}
	}
	return a.engine(t, o)
}

const null = "<NULL>"

func (a *answers) engine(t *testing.T, o Options) *Engine {
	t.Helper()
	o.Address, o.User = "recorded:0", "evenkeel"
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	engine.session.db = sql.OpenDB(a)
	if engine.session.conn, err = engine.session.db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return engine
}

// record makes one look at a server as evenkeel, and keeps what it answered.
func record(t *testing.T, name, what string, s *sitetest.SQL, o Options) {
	t.Helper()
	c := driverpkg.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.InterpolateParams, c.Logger = "evenkeel", sitetest.Word, "tcp", s.Address(), true, &driverpkg.NopLogger{}
	connector, err := driverpkg.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	a := &answers{real: connector}
	engine := a.engine(t, o)
	if err := engine.session.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.all = nil
	t.Logf("%s: %+v", name, engine.Look(t.Context()).Sightings)
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n# server: MySQL %s\n# record again: RECORD=1 go test -run TestRecord ./agent/internal/replica/mysql\n",
		what, s.Text(t, "SELECT VERSION()"))
	for _, one := range a.all {
		fmt.Fprintf(&out, "statement: %s\ncolumns: %s\n", one.statement, strings.Join(one.columns, " | "))
		for i, row := range one.rows {
			fmt.Fprintf(&out, "*************************** %d. row ***************************\n", i+1)
			for j, v := range row {
				text := null
				if v != nil {
					text = strings.ReplaceAll(fmt.Sprintf("%s", v), "\n", `\n`)
				}
				fmt.Fprintf(&out, "%s: %s\n", one.columns[j], text)
			}
		}
	}
	if err := os.WriteFile(filepath.Join("testdata", name), []byte(out.String()), 0o644); err != nil { //nolint:gosec // no secret
		t.Fatal(err)
	}
}

// Connect, with the methods below, makes answers a driver of database/sql.
func (a *answers) Connect(ctx context.Context) (driver.Conn, error) {
	if a.real == nil {
		return &asked{answers: a}, nil
	}
	conn, err := a.real.Connect(ctx)
	return &asked{conn, a}, err
}

func (a *answers) Driver() driver.Driver { return nil }

type asked struct {
	driver.Conn // nil when played back
	answers     *answers
}

func (c *asked) Close() error {
	if c.Conn == nil {
		return nil
	}
	return c.Conn.Close()
}

func (c *asked) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *asked) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	key := strings.Join(strings.Fields(query), " ")
	if c.Conn == nil {
		if known := c.answers.of[key]; known != nil && len(known.columns) > 0 {
			return &reading{table: known}, nil
		}
		return nil, errors.New("there is no recorded answer to " + key)
	}
	t := &table{statement: key}
	c.answers.all = append(c.answers.all, t)
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	t.columns = rows.Columns()
	for {
		row := make([]driver.Value, len(t.columns))
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return &reading{table: t}, nil
		} else if err != nil {
			return nil, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = string(b)
			} else if v != nil {
				row[i] = fmt.Sprint(v)
			}
		}
		t.rows = append(t.rows, row)
	}
}

type reading struct {
	*table
	next int
}

func (r *reading) Columns() []string { return r.columns }
func (r *reading) Close() error      { return nil }

func (r *reading) Next(row []driver.Value) error {
	if r.next == len(r.rows) {
		return io.EOF
	}
	copy(row, r.rows[r.next])
	r.next++
	return nil
}

// TestRecord asks a server in several states and keeps its answers in testdata.
func TestRecord(t *testing.T) {
	if os.Getenv("RECORD") != "1" {
		t.Skip("RECORD=1 records the answers of a real server again")
	}
	for _, f := range sitetest.MySQLs(t) {
		p := newPair(t, f, "--replica-parallel-workers=4")
		from := func(what string, s *sitetest.SQL, link LinkSpec) {
			record(t, f.Name+"-"+strings.ReplaceAll(what, " ", "-")+".txt", what, s, Options{Links: []LinkSpec{link}})
		}
		target := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
		source := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Source}
		w := newWatch(t, Options{Server: p.server(p.replica, "evenkeel")}, replica.Target)
		id := 0
		insert := func() {
			id++
			p.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (?, 'x')", id)
		}
		insert()
		p.copied(t)
		w.Becomes(replica.IdleLinkOK, "")
		from("idle", p.replica, target)
		from("source", p.primary, source)

		release := p.lock(t, 2)
		insert()
		insert()
		w.Until("late", func(s replica.Status) bool { return s.Lower.Or(0) > 2*time.Second })
		from("worker hangs", p.replica, target)
		release()
		w.Complete()

		p.replica.Local(t, "INSERT INTO evenkeel.load_test VALUES (4, 'foreign')")
		insert()
		insert()
		w.Becomes(replica.ApplierStopped, replica.ReasonError)
		from("worker failed", p.replica, target)
		p.replica.Local(t, "DELETE FROM evenkeel.load_test WHERE id = 4")
		p.replica.Do(t, "START REPLICA")
		w.Complete()

		p.link.Cut(true)
		w.Until("down", func(s replica.Status) bool { return s.State == replica.LinkDown && s.Reason == replica.ReasonError })
		from("link cut", p.replica, target)
		p.link.Cut(false)
		w.Complete()

		p.purge(t, insert)
		w.Becomes(replica.LinkDown, replica.ReasonLost)
		from("log purged", p.replica, target)

		g := newGroup(t, f)
		g.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (1, 'x')")
		g.copied(t)
		from("group", g.replica, g.link)
	}
}
