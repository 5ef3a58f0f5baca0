package nats

import (
	"strings"

	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// HeartbeatDDL is what has to be set up for heartbeats: the subject of each stream's own site in that stream (it is copied
// with the rest), and the account's right to write it and to read it back. fra is the site, ORDERS the stream.
const HeartbeatDDL = `nats stream edit ORDERS --subjects='orders.>,evenkeel.hb.fra,evenkeel.echo.fra.*'
permissions: {
  publish: ["$JS.API.STREAM.INFO.ORDERS", "$JS.API.STREAM.MSG.GET.ORDERS", "evenkeel.hb.fra", "evenkeel.echo.fra.*"]
  subscribe: ["_INBOX_evenkeel.>"]
}`

// Beat is a heartbeat as all engines have it.
type Beat = heartbeat.Beat

// Echo is an echo as all engines have it.
type Echo = heartbeat.Echo

func beatSubject(origin string) string           { return "evenkeel.hb." + origin }
func echoSubject(observer, origin string) string { return "evenkeel.echo." + observer + "." + origin }

// site reports whether a name can be one token of a subject.
func site(name string) bool { return name != "" && !strings.ContainsAny(name, ".*> \t\r\n\x00") }
