package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestHeartbeatSQL(t *testing.T) {
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out, errors bytes.Buffer
		got := command(t.Context(), append([]string{"heartbeat-sql"}, args...), func(string) (string, bool) { return "", false }, &out, &errors)
		if all := out.String() + errors.String(); got != code || !strings.Contains(all, want) {
			t.Errorf("%v: code %d, want %d with %q:\n%s", args, got, code, want, all)
		}
	}
	f(exitOK, "GRANT SELECT, INSERT, UPDATE ON public.evenkeel_heartbeat, public.evenkeel_echo, public.evenkeel_canary TO \"evenkeel_beat\"", "--engine", "postgresql")
	f(exitOK, "GRANT SELECT, INSERT, UPDATE ON `hb`.evenkeel_canary TO 'beat'@'%'", "--engine", "mysql", "--database", "hb", "--account", "beat")
	f(exitOK, "-@all +info +mget +mset", "--engine", "redis")
	f(exitOK, `"evenkeel.hb.waw", "evenkeel.echo.waw.*"`, "--engine", "nats", "--origin", "waw")
	f(exitOK, "--operation Read --topic waw.beats\n", "--engine", "kafka", "--topic", "beats", "--peers", "ams,waw")
	f(exitSettings, "use one of postgresql, mysql, redis, nats, kafka", "--engine", "oracle")
	f(exitSettings, "no plain name", "--engine", "mysql", "--account", "x y")
	f(exitFailed, "required flag")
}
