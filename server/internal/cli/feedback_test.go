package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

// opinions stand for what app makes of the ledger, the store and the observations.
type opinions struct {
	*ledger.Ledger
	alarms    []core.Alarm
	precision []core.Precision
}

func (o *opinions) Watches() []string           { return []string{"latency"} }
func (o *opinions) Alarms() []core.Alarm        { return o.alarms }
func (o *opinions) Precision() []core.Precision { return o.precision }
func (o *opinions) Raised(context.Context, string, time.Time) (bool, error) {
	return false, nil
}

func TestFeedbackCommands(t *testing.T) {
	r := start(t)
	onset := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	id := core.AlarmID("latency", "latency of fra", onset)
	r.opinions.alarms = []core.Alarm{{
		ID: id, Watch: "latency", Series: "latency of fra", Class: core.ClassSymptom, Onset: onset, Last: onset.Add(time.Minute), Over: true, Sentence: "latency of fra: 2",
	}}
	if _, err := r.ledger.Commit(t.Context(), []core.Change{{Episode: &core.Episode{ID: "ep_1", Onset: onset, OpenedAt: onset}}}); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		out, _, err := run(t, append(append([]string{"feedback"}, args...), "--server", r.url, "--data", r.data)...)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v: %s, want %q", args, out, want)
		}
	}
	f(id+"  latency  latency of fra: 2", "alarms")
	f(id+" is true by admin jo", "give", "true", "--alarm", id)
	f(id+" is true by admin jo", "give", "true", "--alarm", id) // once more
	f(id+" is false by admin jo", "give", "false", "--watch", "latency", "--series", "latency of fra", "--onset", onset.Format(time.RFC3339), "--note", "a backup")
	f("ep_1 is unsure by admin jo", "give", "unsure", "--episode", "ep_1")
	f("false   admin jo  "+id+"  latency  latency of fra  a backup", "list")
	f("true   admin jo", "list", "--history", "--about", id)
	f(`no label "maybe"`, "give", "maybe", "--episode", "ep_1")
	f("either an episode or an alarm", "give", "true")
	f("tells of no alarm alm_x", "give", "true", "--alarm", "alm_x")
	f("--alarm says it all", "give", "true", "--alarm", id, "--episode", "ep_1")
	f("--onset", "give", "true", "--onset", "soon")
	f(`there is no watch "latenzy" (name one of: latency)`, "give", "true", "--watch", "latenzy", "--series", "x", "--onset", onset.Format(time.RFC3339))
	f("accepts 1 arg(s)", "give")
	f("raised no alarm", "give", "true", "--watch", "latency", "--series", "x", "--onset", onset.Format(time.RFC3339))

	r.opinions.precision = []core.Precision{{}, {Watch: "latency", True: 3, False: 1, Labels: 5, Precision: new(0.75), Lower: new(0.4), Upper: new(0.93)}}
	out, _, err := run(t, "status", "--server", r.url)
	if err != nil || !strings.Contains(out, "watch latency  3     1      0       0.75       0.40 to 0.93  5") || strings.Contains(out, "episodes  ") {
		t.Errorf("%s, %v", out, err)
	}
}
