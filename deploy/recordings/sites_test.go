package main

import (
	"strings"
	"testing"
	"time"
)

// After two quiet days nearly every slow, failing or lagging site is seen within a minute, and quiet is seldom taken for trouble.
func TestSitesAreSeenToFail(t *testing.T) {
	f := func(set string, least int) {
		t.Helper()
		got, err := judgeSites(set, 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := got.print(&b, set); err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + b.String())
		found := 0
		for _, by := range got.soonest {
			if by[0] >= 0 && by[0] <= time.Minute {
				found++
			}
		}
		if found < least || got.quiet[0] > 12 {
			t.Errorf("%s: %d of %d faults, want %d; %d alarms without a fault, want 12 at most", set, found, len(got.soonest), least, got.quiet[0])
		}
	}
	f("dev", 18)
	f("test", 17) // of 19: 200 ms are not to be told where the machine itself makes 400
}

func TestSitesThatCannotBeRead(t *testing.T) {
	if _, err := judgeSites(t.TempDir(), 1, 1); err == nil || !strings.Contains(err.Error(), "csv") {
		t.Errorf("an empty folder: %v", err)
	}
}
