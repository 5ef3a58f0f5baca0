package app

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

const specialFile = `
sites:
  - {name: fra, time_zone: Europe/Berlin}
  - {name: nyc, time_zone: America/New_York}
services:
  - {name: checkout, entries: {fra: "https://fra.example.net/", nyc: "https://nyc.example.net/"}}
watches:
  - {name: errors, query: errors}
special_times:
  - {name: christmas, cron: "0 0 25 12 *", lasts: 1d, like: sunday}
  - {name: sale, dates: ["2026-12-25 12:00"], lasts: 6h, time_zone: UTC, sites: [fra], services: [checkout], watches: [errors], judged: true}
`

func specialsOf(t *testing.T, file string) (config.Config, *specials) {
	t.Helper()
	c, err := config.Parse("evenkeel.yaml", []byte(file), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := c.Render(); err != nil {
		t.Error(err)
	} else if _, err := config.Parse("evenkeel.yaml", shown, func(string) (string, bool) { return "", false }); err != nil {
		t.Errorf("what config shows is refused: %v", err)
	}
	s, err := newSpecials(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// A special time is on at each site by the civil time there, and is known of any time of the past or to come.
func TestSpecialTimesGoByTheClocksOfTheSites(t *testing.T) {
	_, s := specialsOf(t, specialFile)
	at := func(text string) time.Time {
		x, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	f := func(from, until string, want ...string) {
		t.Helper()
		var got []string
		for _, m := range s.between(at(from), at(until)) {
			if m.Kind != detect.MarkSpecial {
				t.Errorf("kind %v", m.Kind)
			}
			got = append(got, m.What+" "+m.Subject.String()+" "+m.From.Format("02T15:04")+" "+m.Until.Format("02T15:04"))
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s to %s: %q, want %q", from, until, got, want)
		}
	}
	fra, nyc := "christmas "+core.Subject{Site: "fra", Service: core.AllServices}.String()+" 24T23:00 25T23:00",
		"christmas "+core.Subject{Site: "nyc", Service: core.AllServices}.String()+" 25T05:00 26T05:00"
	sale := "sale checkout at fra 25T12:00 25T18:00"
	f("2026-12-24T23:30:00Z", "2026-12-24T23:30:00Z", fra)
	f("2026-12-25T06:00:00Z", "2026-12-25T06:00:00Z", fra, nyc)
	f("2026-12-25T13:00:00Z", "2026-12-25T13:00:00Z", fra, nyc, sale)
	f("2026-12-26T04:00:00Z", "2026-12-26T04:00:00Z", nyc)
	f("2024-12-20T00:00:00Z", "2024-12-30T00:00:00Z", fra, nyc) // as a replay asks
	f("2026-12-25T13:00:00Z", "2026-12-25T13:00:00Z", fra, nyc, sale)
	marks := s.between(at("2026-12-25T13:00:00Z"), at("2026-12-25T13:00:00Z"))
	if marks[0].Like != detectors.Sunday || marks[0].Judged || !marks[2].Judged || len(marks[2].Watches) != 1 {
		t.Errorf("%+v", marks)
	}
}

// Watches hear of both: of the calendar, and of what is on record.
func TestTheCalendarIsAMarkAmongOthers(t *testing.T) {
	_, special := specialsOf(t, specialFile)
	s := &Server{special: special}
	at := time.Date(2026, 12, 25, 13, 0, 0, 0, time.UTC)
	s.marks.known.Store(&[]detect.Mark{{Kind: detect.MarkDrained, From: at.Add(-time.Minute)}})
	var kinds []detect.MarkKind
	for _, m := range s.marksBetween(at, at) {
		kinds = append(kinds, m.Kind)
	}
	if !slices.Equal(kinds, []detect.MarkKind{detect.MarkSpecial, detect.MarkSpecial, detect.MarkSpecial, detect.MarkDrained}) {
		t.Errorf("%v", kinds)
	}
}

// The status says which are on, and check which comes next.
func TestSpecialTimesAreSaid(t *testing.T) {
	c, s := specialsOf(t, specialFile)
	at := time.Date(2026, 12, 25, 13, 0, 0, 0, time.UTC)
	on := s.now(at)
	if len(on) != 2 || on[0].Sentence != "special time at fra, nyc until 2026-12-26 05:00 UTC: nothing is learned, and of the models that learn only seasonal and peers judge" ||
		on[1].Sentence != "special time at fra until 2026-12-25 18:00 UTC: judged, and nothing is learned, by errors" {
		t.Errorf("%+v", on)
	}
	if got := s.now(at.AddDate(0, 1, 0)); got != nil {
		t.Errorf("a month later: %+v", got)
	}
	if got := coming(c, at.AddDate(0, 0, -1)); got != ", 2 special times (next christmas at fra, 2026-12-24 23:00 UTC)" {
		t.Error(got)
	}
	if got := coming(config.Config{}, at); got != "" {
		t.Error(got)
	}
}
