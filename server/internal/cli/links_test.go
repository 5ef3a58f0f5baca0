package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What is not known is said to be so, and never 0.
func TestLinkRows(t *testing.T) {
	number := func(v float64) *float64 { return &v }
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(l core.LinkView, want ...string) {
		t.Helper()
		l.Link, l.End = "orders:fra>ams", "target"
		if diff := cmp.Diff(append([]string{"orders:fra>ams", "-", "target"}, want...), linkRows([]core.LinkView{l})[1]); diff != "" {
			t.Error(diff)
		}
	}
	f(core.LinkView{State: core.LinkUnknown}, "unknown", "unknown", "unknown", "never seen")
	f(core.LinkView{State: core.LinkCaughtUp, LagLower: number(0), LagUpper: number(0.04), Exposure: number(0.04), CaughtUp: &at},
		"caught_up", "0 ms to 40 ms", "at most 40 ms", "2026-01-02 03:04:05")
	f(core.LinkView{State: core.LinkDown, LagLower: number(12.34), Exposure: number(15)}, "link_down", "12.3 s or more", "at most 15.0 s", "never seen")
}

func TestStandingRows(t *testing.T) {
	number := func(v float64) *float64 { return &v }
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(l core.LinkStanding, want ...string) {
		t.Helper()
		l.Link = "orders:fra>ams"
		if diff := cmp.Diff(append([]string{"orders:fra>ams"}, want...), standingRows([]core.LinkStanding{l})[1]); diff != "" {
			t.Error(diff)
		}
	}
	f(core.LinkStanding{Reason: "never_seen"}, "unknown (never_seen)", "unknown", "unknown", "none", "-")
	f(core.LinkStanding{State: core.LinkCatchingUp, LagLower: number(0), LagUpper: number(0.0004), Exposure: number(2.5), RPO: 5, Since: &at},
		"catching_up", "0 ms to 1 ms", "at most 2.5 s", "5.0 s", "2026-01-02 03:04:05")
	f(core.LinkStanding{State: core.LinkDown, LagLower: number(12.34), RPO: 0.5}, "link_down", "12.3 s or more", "unknown", "500 ms", "-")
}
