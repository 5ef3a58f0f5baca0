package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who wrote one watch, and is told of two, is told which the other one is.
func TestCheckNamesTheWatchThatNobodyWrote(t *testing.T) {
	f := func(want, text string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "evenkeel.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := CheckConfig(path); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
	const rest = "sites: [{name: fra}]\nwatches: [{name: w, query: up}]\n"
	f(" 1 watches, ", rest+"services: [{name: a, entries: {fra: 'http://fra/'}}]\n")
	f(" 2 watches (tls-expiry, which probes of certificates bring, is one), ", rest+"services: [{name: a, entries: {fra: 'https://fra/'}}]\n")
}
