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
	f("the maintenance lasts longer than 72 h", func(c *DeclaredChange) { c.Maintenance = true; c.End = c.Start.Add(73 * time.Hour) })
	f("", func(c *DeclaredChange) { c.Maintenance = true; c.End = c.Start.Add(72 * time.Hour) })
	past := func(start, end time.Duration) func(*DeclaredChange) {
		return func(c *DeclaredChange) { c.Incident, c.Start, c.End = true, now.Add(start), now.Add(end) }
	}
	f("", past(-59*24*time.Hour, -58*24*time.Hour))
	f("", past(-time.Hour, 0))
	f("the incident is not over", past(-time.Hour, 1))
	f("more than 60 days ago", past(-61*24*time.Hour, -61*24*time.Hour+time.Hour))
	f("the incident lasts longer than 24 h", past(-30*time.Hour, -time.Hour))
	f("no maintenance", func(c *DeclaredChange) { past(-time.Hour, 0)(c); c.Maintenance = true })
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

func TestMaintenance(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	declare := func(site, service string, from, until time.Duration) DeclaredChange {
		return DeclaredChange{ID: site + service, Site: site, Service: service, Start: now.Add(from), End: now.Add(until), Maintenance: true}
	}
	deploy := declare("ams", "all", 0, time.Hour)
	deploy.Maintenance = false
	early := declare("dub", "all", 0, time.Hour)
	early.EndedAt = now.Add(time.Minute)
	topo := Topology{Changes: []DeclaredChange{
		declare("fra", "checkout", 0, time.Hour), declare("fra", "all", 0, 2*time.Hour), declare("lon", "", 0, time.Hour),
		declare("par", "checkout", -time.Hour, 0), deploy, early,
	}}
	f := func(site, service string, after time.Duration, want string) {
		t.Helper()
		got := ""
		if c := topo.Maintenance(Subject{Site: site, Service: service}, now.Add(after)); c != nil {
			got = c.ID
		}
		if got != want {
			t.Errorf("%s at %s after %s: %q, want %q", service, site, after, got, want)
		}
	}
	f("fra", "checkout", 0, "fraall") // the one that ends last
	f("fra", "cart", 0, "fraall")
	f("fra", "checkout", 2*time.Hour, "")
	f("fra", "checkout", -1, "")
	f("lon", "checkout", 0, "lon") // a record without a service is of the whole site
	f("par", "checkout", -time.Minute, "parcheckout")
	f("par", AllServices, -time.Minute, "parcheckout") // the whole site is not free of it either
	f("par", "cart", -time.Minute, "")
	f("ams", "checkout", 0, "") // a deploy
	f("dub", "checkout", 59*time.Second, "duball")
	f("dub", "checkout", time.Minute, "") // ended early

	if a, b := deploy, declare("ams", "all", 0, time.Hour); ChangeID(a) == ChangeID(b) {
		t.Error("a maintenance and a change of the same words have one id")
	}
}
