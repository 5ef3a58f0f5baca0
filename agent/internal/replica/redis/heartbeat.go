package redis

import "github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"

// Beat is a heartbeat as all engines have it.
type Beat = heartbeat.Beat

// Echo is an echo as all engines have it.
type Echo = heartbeat.Echo

func beatKey(origin string) string           { return "evenkeel:hb:" + origin }
func echoKey(observer, origin string) string { return "evenkeel:echo:" + observer + ":" + origin }
