package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A figure of an earlier look is not shown beside a newer state.
func TestLinksOf(t *testing.T) {
	var values []core.SeriesValue
	say := func(name, end string, at, value float64) {
		for _, part := range []string{"", "time"} {
			labels := map[string]string{"__name__": "evenkeel_" + name, "link": "orders:fra>ams", "end": end, "site": "ams", "host_name": "h"}
			v := value
			if part != "" {
				labels[linkTime], v = part, at
			}
			values = append(values, core.SeriesValue{Labels: labels, Value: v})
		}
	}
	say("link_state", "target", 1005, 4)
	say("replication_lag_lower_seconds", "target", 1005, 2.5)
	say("replication_lag_upper_seconds", "target", 1000, 0.1)
	say("replication_last_caught_up_timestamp_seconds", "target", 1005, 1000.5)
	say("link_state", "source", 1004, 1) // comes without the host
	delete(values[len(values)-1].Labels, "host_name")
	delete(values[len(values)-2].Labels, "host_name")
	say("replication_lag_bytes", "source", 1004, 0)
	say("replication_lag_bytes", "nowhere", 1004, 7) // without a state
	zero, lower, caughtUp := 0.0, 2.5, time.UnixMilli(1_000_500).UTC()
	link := core.LinkView{Link: "orders:fra>ams", Store: "orders", From: "fra", To: "ams", Writer: "ams"}
	source, target := link, link
	source.End, source.State, source.At, source.Bytes = "source", core.LinkCaughtUp, time.Unix(1004, 0).UTC(), &zero
	target.End, target.State, target.At, target.LagLower, target.CaughtUp = "target", core.LinkDown, time.Unix(1005, 0).UTC(), &lower, &caughtUp
	if diff := cmp.Diff([]core.LinkView{source, target}, linksOf(values)); diff != "" {
		t.Error(diff)
	}
}
