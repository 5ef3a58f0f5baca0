package main

import (
	"io"
	"os"
	"path/filepath"
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
	f := func(want string, args ...string) {
		t.Helper()
		if err := command(t.Context(), append([]string{"sites"}, args...), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sites %v: %v, want it to say %q", args, err, want)
		}
	}
	f("name the data sets")
	f("flags come first", "dev", "-days", "2")
	f("out of range", "-days", "-1", "dev")
	f("csv", t.TempDir())
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := func(source, series string) string {
		dir := t.TempDir()
		write(dir, "windows.csv", "id,start_index,end_index,onset_unix_ms,fault\n")
		write(dir, "faults.csv", "fault,kind,text\n")
		write(dir, "manifest.csv", "id,source,train_end_index,file\nx,"+source+",13,x.csv\n")
		write(dir, "x.csv", series)
		return dir
	}
	f("has no fault", set("lab-edge", ""))
	f("want unix_ms", set("lab-site", "unix_ms\n1\n"))
	f("is none of its rows", set("lab-site", "unix_ms,m00,label\n1,2,0\n"))
}
