package core

import (
	"strings"
	"testing"
	"time"
)

func TestDeclaredChanges(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f := func(want string, change func(*DeclaredChange)) {
		t.Helper()
		c := DeclaredChange{ID: "chg_1", Site: "fra", Service: "all", What: "deploy", Source: "ci", Start: now, End: now.Add(time.Hour)}
		change(&c)
		err := c.Check(now)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || Code(err) != CodeInvalid) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("", func(*DeclaredChange) {})
	f("no id", func(c *DeclaredChange) { c.ID = "a/b" })
	f("no id", func(c *DeclaredChange) { c.ID = "" })
	f("what is missing", func(c *DeclaredChange) { c.What = "" })
	f("too long", func(c *DeclaredChange) { c.What = strings.Repeat("x", 201) })
	f("source is too long", func(c *DeclaredChange) { c.Source = strings.Repeat("x", 201) })
	f("ends before it starts", func(c *DeclaredChange) { c.End = c.Start })
	f("longer than 24 h", func(c *DeclaredChange) { c.End = c.Start.Add(25 * time.Hour) })
	f("more than 7 days", func(c *DeclaredChange) { c.Start = now.Add(200 * time.Hour); c.End = c.Start.Add(1) })
	f("24 h ago", func(c *DeclaredChange) { c.Start = now.Add(-25 * time.Hour); c.End = c.Start.Add(1) })

	c := DeclaredChange{Site: "fra", What: "x", Start: now, End: now.Add(time.Minute)}
	if !c.At(now) || c.At(c.End) || c.At(now.Add(-1)) {
		t.Error("a change is under way from its start until just before its end")
	}
	other := c
	other.Site = "ams"
	again := c
	again.By = "somebody else"
	if ChangeID(c) != ChangeID(again) || ChangeID(c) == ChangeID(other) {
		t.Error("an id is not of its change alone")
	}
}
