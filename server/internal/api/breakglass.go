package api

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	maxID        = 100
	maxName      = 200
	maxCluster   = 64
	maxDetail    = 2000
	maxOverrides = 100
	// ahead is how far the clock of the machine that a command was given on may be ahead of ours.
	ahead = time.Minute
)

// checkBreakGlass checks every field of a record of what was commanded past the servers. It comes from a file on some
// machine, goes on record for good and is shown to people.
func checkBreakGlass(b core.BreakGlass, now time.Time) error {
	for _, text := range []struct {
		name, value string
		least, most int
	}{
		{"id", b.ID, 1, maxID},
		{"subject.site", b.Subject.Site, 1, maxName},
		{"subject.service", b.Subject.Service, 1, maxName},
		{"subject.unit", b.Subject.Unit, 0, maxName},
		{"target", b.Target, 1, maxName},
		{"cluster_id", b.ClusterID, 1, maxCluster},
		{"detail", b.Detail, 0, maxDetail},
		{"by", b.By, 1, maxName},
		{"reason", b.Reason, 1, maxReason},
	} {
		if err := checkText(text.name, text.value, text.least, text.most); err != nil {
			return err
		}
	}
	switch {
	case b.Weight < 0 || b.Weight > 100:
		return badRecord("weight is %d, and is to be 0 to 100", b.Weight)
	case !slices.Contains([]core.RoutingState{core.RoutingActive, core.RoutingDrained, core.RoutingRestoring}, b.State):
		return badRecord("state is %s, and is to be active, drained or restoring", b.State)
	case b.Epoch < 1 || b.Seq < 1:
		return badRecord("epoch is %d and seq is %d, and both count from 1", b.Epoch, b.Seq)
	case !slices.Contains([]string{"done", "accepted", "refused", "unknown", "failed"}, b.Result):
		return badRecord("result is not one of done, accepted, refused, unknown, failed")
	case b.At.IsZero():
		return badRecord("at is missing")
	case b.At.Sub(now) > ahead:
		return invalid("break_glass: at is in the future", "set the clocks of both machines right, then try again")
	case len(b.Overrides) > maxOverrides:
		return badRecord("overrides has %d names, and may have %d", len(b.Overrides), maxOverrides)
	}
	for _, guard := range b.Overrides {
		if err := checkText("overrides", guard, 1, maxID); err != nil {
			return err
		}
	}
	return nil
}

func checkText(name, value string, least, most int) error {
	if len(value) < least || len(value) > most {
		return badRecord("%s has %d bytes, and may have %d to %d", name, len(value), least, most)
	}
	if unprintable(value) {
		return badRecord("%s holds a control character", name)
	}
	return nil
}

func badRecord(format string, args ...any) error {
	return invalid("break_glass: "+fmt.Sprintf(format, args...), "give the record as the break-glass command wrote it")
}
