package core

import "time"

// ClockText is the time of day as sentences say it: 15:04:05 UTC.
func ClockText(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
