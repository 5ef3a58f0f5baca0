package act

import (
	"fmt"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// figures says what moved: "share 33 % -> 0 %, users' success 99.9 %".
func figures(in core.Intent, t core.Traffic) string {
	share := func(t core.Traffic) string {
		if !t.Known {
			return "unknown"
		}
		return percent(t.Share)
	}
	text := fmt.Sprintf("share %s -> %s", share(in.Before), share(t))
	if in.Weight > 0 && t.Known && t.Count > 0 {
		text += fmt.Sprintf(", the site's success %s of %.0f requests", precise(t.Success), t.Count)
	}
	if t.Known && t.ServiceCount > 0 {
		text += ", users' success " + precise(t.ServiceSuccess)
	}
	return text
}

// percent writes 0 to 1 as a percentage; a decimal only where it matters.
func percent(v float64) string {
	p := v * 100
	if p > 0 && p < 10 && p != float64(int(p)) {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// precise writes 0 to 1 as a percentage with one decimal, and never rounds a failure away.
func precise(v float64) string {
	p := v * 100
	if p > 99.9 && p < 100 {
		return strconv.FormatFloat(float64(int(p*100))/100, 'f', 2, 64) + " %"
	}
	if p == 100 {
		return "100 %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s" }
