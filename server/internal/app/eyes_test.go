package app

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A loop that waits for the ledger is no pause of the process: its time is kept beside it.
func TestWaitingForTheLedgerIsNoPause(t *testing.T) {
	f := func(tilts, beats bool) {
		t.Helper()
		now := time.Now()
		e := newEyes("r1", core.Topology{}, func() time.Time { return now })
		e.judge(nil)
		for range 20 {
			now = now.Add(judgeEvery)
			if beats {
				e.beat(now)
			}
		}
		if got := e.judge(nil).Tilt; got.On != tilts {
			t.Errorf("beats: %t: tilt is %+v", beats, got)
		}
	}
	f(false, true)
	f(true, false)
}
