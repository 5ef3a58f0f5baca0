package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// TestProbeOfALink: what somebody is told who asks for the first time. A MariaDB shows that its link is alive by what changes
// between two looks only.
func TestProbeOfALink(t *testing.T) {
	t.Parallel()
	word := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(word, []byte(sitetest.Word+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, copied := sitetest.StartSQL(t, sitetest.MariaDB(), 1), sitetest.StartSQL(t, sitetest.MariaDB(), 2)
	copied.Follow(t, replicatest.NewWire(t, source.Address()), "")
	source.Do(t, "CREATE DATABASE orders")
	replicatest.Until(t, "the copy has all", func() bool { return copied.Has(t) == source.Wrote(t) })
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out, errors bytes.Buffer
		args = append([]string{"probe", "--link", "orders:fra>ams"}, args...)
		got := command(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &errors)
		if all := out.String() + errors.String(); got != code || !strings.Contains(all, want) || strings.Contains(all, sitetest.Word) {
			t.Errorf("%v: code %d, want %d with %q:\n%s", args, got, code, want, all)
		}
	}
	account := func(more ...string) []string {
		return append([]string{"--engine", "mysql", "--address", copied.Address(), "--user", "evenkeel"}, more...)
	}
	f(exitOK, "(target) is caught_up", account("--password-file", word, "--wait", "1m")...)
	f(exitUnknown, "not_measured (it takes two looks", account("--password-file", word, "--wait", "0s")...)
	f(exitUnknown, "auth (the server does not let the account in", account()...)
	f(exitUnknown, "no replication connection of that name", account("--password-file", word, "--channel", "lon")...)
	f(exitSettings, "mysql is for MariaDB too", "--engine", "mariadb")
	f(exitSettings, "not host:port", "--engine", "mysql", "--address", "127.0.0.1")
	f(exitSettings, "a user is needed", "--engine", "mysql", "--address", "127.0.0.1:3306")
	f(exitSettings, "write it as in orders:fra>ams", "--engine", "mysql", "--link", "orders")
}
