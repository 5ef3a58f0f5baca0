package mysql

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// A look that was long may have seen what was received at its end: what is missing since then is no older than that.
func TestALongLookDoesNotMakeTheLagLonger(t *testing.T) {
	link := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	server := serverRow{Version: "10.11.6-MariaDB", ServerID: 2, ReadOnly: true}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var k kept[mariaPos]
	look := func(took time.Duration, received string) (s replica.Sighting) {
		t.Helper()
		s, k = mariaTarget(link, status(t, "Slave_received_heartbeats", "1", "Gtid_IO_Pos", received, "Gtid_Slave_Pos", "0-1-10"), server,
			replica.Opt[Beat]{}, k, at, at.Add(took))
		at = at.Add(time.Second)
		return s
	}
	look(0, "0-1-10")
	look(400*time.Millisecond, "0-1-11")
	if s := look(0, "0-1-11"); s.State != replica.CatchingUp || s.Lower.V != 600*time.Millisecond {
		t.Errorf("%v(%s): missing for %v, want at least 600 ms", s.State, s.Reason, s.Lower)
	}
}
