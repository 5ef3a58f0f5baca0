package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOldBackupsAreRemovedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"ledger-20261101T000000Z.backup", "ledger-20261101T010000Z.backup", "ledger-20261101T020000Z.backup",
		"ledger-20261031T230000Z.backup.part", "notes.txt",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(dir, 2); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != 4 || got[1] != "ledger-20261101T010000Z.backup" {
		t.Errorf("left are %q", got)
	}
}

func TestVersionsApart(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		if got := tooFar(a, b); got != want {
			t.Errorf("%s and %s: %t", a, b, got)
		}
	}
	f("v1.4.0", "v1.4.9", false)
	f("v1.4.0", "v1.6.2-3-gabc", false)
	f("v1.4.0", "v1.7.0", true)
	f("v1.7.0", "v1.4.0", true)
	f("v2.0.0", "v1.9.0", true)
	f("dev", "v1.9.0", false)
	f("0acb99c-dirty", "v9.9.0", false)
}
