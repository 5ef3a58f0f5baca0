package decide

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// elapsedText is a time that runs, with one decimal: "3.2 s".
func elapsedText(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d >= 10*time.Minute {
		return strconv.FormatFloat(d.Minutes(), 'f', 1, 64) + " min"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// spanText is a limit: "20 s", "15 min", "4 h".
func spanText(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d >= 5*time.Minute && d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}

// pctText is a ratio as percent, with a decimal only where it tells something: "33 %", "99.9 %".
func pctText(ratio float64) string {
	v := math.Round(ratio*1000) / 10
	if v >= 1 && v < 99 {
		v = math.Round(v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64) + " %"
}

func rateText(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " requests/s"
}

// stateText is a state in words: "rolled back".
func stateText(s core.ActionState) string { return strings.ReplaceAll(s.String(), "_", " ") }

// listText is "a", "a and b" or "a, b and c".
func listText(names []string) string {
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// evidenceText says in a few words what speaks against the subject: "outside 2/2, inside dead".
func evidenceText(t core.Topology, a core.Assessment) string {
	var parts []string
	if down, eligible := outsideVotes(t, a); eligible > 0 {
		parts = append(parts, fmt.Sprintf("outside %d/%d", down, eligible))
	}
	switch insideState(a) {
	case core.ProbeDown:
		parts = append(parts, "inside dead")
	case core.ProbeUp:
		parts = append(parts, "inside alive")
	case core.ProbeUnknown:
		if a.Has(core.ClassInside) {
			parts = append(parts, "inside unknown")
		}
	}
	for _, c := range []core.Class{core.ClassSymptom, core.ClassSilence, core.ClassCause, core.ClassLink} {
		if i := slices.IndexFunc(a.Evidence, func(e core.Evidence) bool { return e.Class == c }); i >= 0 {
			p := c.String()
			if sig := a.Evidence[i].Signal; sig != "" && sig != p {
				p += " " + sig
			}
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// cut shortens a text to n bytes without breaking a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-3], "") + "..."
}
