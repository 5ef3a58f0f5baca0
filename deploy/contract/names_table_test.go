package contract

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const namesFile = "names.md"

const namesHead = `# Names in the store

Every series that Evenkeel's own parts write, as it is called in the store. This table is the contract between agent,
edge, server, watches and dashboards: ` + "`go test ./deploy/contract -run TestNames`" + ` starts a real server, a real agent and an
edge, and fails when a name no longer arrives, has other labels, or is not written down here. ` + "`-update`" + ` rewrites the table;
meanings and conditions written by hand are kept. Labels of every series also hold ` + "`site`" + `, its writer, stamped by the server.
A name with a condition may be absent where the condition does not hold. The Go runtime's own figures (` + "`go_*`, `process_*`" + `)
are stored beside these, with site ` + "`_server`" + `, and are no part of the contract.

`

// row is one name of the contract.
type row struct {
	name, kind, unit, otlp string
	labels                 []string // without site
	by, when, meaning      string
}

func columns() []string {
	return []string{"Name", "Type", "Unit", "OTLP name", "Labels", "Written by", "Present only if", "Meaning"}
}

func (r row) cells() []string {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	return []string{code(r.name), r.kind, code(r.unit), code(r.otlp), strings.Join(r.labels, ", "), r.by, r.when, r.meaning}
}

func render(rows []row) string {
	var b strings.Builder
	b.WriteString(namesHead)
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns())
	line(slices.Repeat([]string{"---"}, len(columns())))
	for _, r := range rows {
		line(r.cells())
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

// committed reads the table.
func committed(t *testing.T) map[string]row {
	t.Helper()
	raw, err := os.ReadFile(namesFile)
	if err != nil && (!*update || !os.IsNotExist(err)) {
		t.Fatal(err)
	}
	out := map[string]row{}
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		c := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(c) != len(columns()) {
			t.Fatalf("%s: a row has %d cells, want %d: %s", namesFile, len(c), len(columns()), line)
		}
		for i := range c {
			c[i] = strings.Trim(strings.TrimSpace(c[i]), "`")
		}
		r := row{name: c[0], kind: c[1], unit: c[2], otlp: c[3], by: c[5], when: c[6], meaning: c[7]}
		if c[4] != "" {
			r.labels = strings.Split(c[4], ", ")
		}
		if _, twice := out[r.name]; twice {
			t.Errorf("%s: %s is there twice", namesFile, r.name)
		}
		if r.meaning == "" {
			t.Errorf("%s: %s has no meaning", namesFile, r.name)
		}
		out[r.name] = r
	}
	return out
}

// missing are the names that must be there and are not.
func missing(want, got map[string]row) []string {
	var out []string
	for name, r := range want {
		if _, ok := got[name]; !ok && r.when == "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// differences are the breaches of the contract: the table is want, what came is got, and about is what those who
// write a name say of it.
func differences(want, got map[string]row, about func(name string) row) []string {
	var out []string
	for _, name := range missing(want, got) {
		out = append(out, name+" no longer arrives")
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		g, w := got[name], want[name]
		switch {
		case w.name == "":
			out = append(out, name+" arrives and is not in "+namesFile+"; -update writes it down")
			continue
		case !slices.Equal(g.labels, w.labels):
			out = append(out, fmt.Sprintf("%s has the labels %v, the table says %v", name, g.labels, w.labels))
		case g.by != w.by:
			out = append(out, fmt.Sprintf("%s is written by %s, the table says %s", name, g.by, w.by))
		}
		if k := about(name); k.kind != "" && (k.kind != w.kind || cmp.Or(k.unit, "1") != w.unit || k.otlp != w.otlp) {
			out = append(out, fmt.Sprintf("%s is a %s in %q, in OTLP %q; the table says %s, %q, %q", name, k.kind, k.unit, k.otlp, w.kind, w.unit, w.otlp))
		}
	}
	return out
}

// TestTheContractCanFail: a check that cannot fail is none.
func TestTheContractCanFail(t *testing.T) {
	t.Parallel()
	base := row{name: "evenkeel_x", kind: "gauge", unit: "1", otlp: "evenkeel.x", labels: []string{"service"}, by: "agent"}
	f := func(change func(want, got map[string]row, said *row), want int) {
		t.Helper()
		table, came, said := map[string]row{"evenkeel_x": base}, map[string]row{"evenkeel_x": base}, base
		change(table, came, &said)
		if d := differences(table, came, func(string) row { return said }); len(d) != want {
			t.Errorf("%d differences, want %d: %q", len(d), want, d)
		}
	}
	set := func(m map[string]row, change func(*row)) {
		r := m["evenkeel_x"]
		change(&r)
		m["evenkeel_x"] = r
	}
	f(func(_, _ map[string]row, _ *row) {}, 0)
	f(func(_, got map[string]row, _ *row) { delete(got, "evenkeel_x") }, 1)
	f(func(want, got map[string]row, _ *row) {
		delete(got, "evenkeel_x")
		set(want, func(r *row) { r.when = "swap is on" })
	}, 0)
	f(func(want, _ map[string]row, _ *row) { delete(want, "evenkeel_x") }, 1)
	f(func(_, got map[string]row, _ *row) { set(got, func(r *row) { r.labels = nil }) }, 1)
	f(func(_, got map[string]row, _ *row) { set(got, func(r *row) { r.by = "edge" }) }, 1)
	f(func(_, _ map[string]row, said *row) { said.unit = "s" }, 1)
	f(func(_, _ map[string]row, said *row) { said.kind = "counter" }, 1)
}

// TestTheTableIsWhatTheTestWrites: nobody edits it into another form.
func TestTheTableIsWhatTheTestWrites(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	rows := slices.SortedFunc(maps.Values(committed(t)), func(a, b row) int { return cmp.Compare(a.name, b.name) })
	raw, err := os.ReadFile(namesFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := render(rows); got != string(raw) {
		t.Errorf("%s is not in the form that -update gives it", namesFile)
	}
}
