package redis

import "github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"

// HeartbeatDDL is what has to be set up for heartbeats: nothing but the account's right to its own keys, at both ends.
const HeartbeatDDL = "ACL SETUSER evenkeel +info +get +set +mget +mset ~evenkeel:*"

// Beat is a heartbeat as all engines have it.
type Beat = heartbeat.Beat

// Echo is an echo as all engines have it.
type Echo = heartbeat.Echo

func beatKey(origin string) string           { return "evenkeel:hb:" + origin }
func echoKey(observer, origin string) string { return "evenkeel:echo:" + observer + ":" + origin }
