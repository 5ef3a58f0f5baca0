package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMissingProgramsAreSaid(t *testing.T) {
	t.Setenv(programsDir, t.TempDir())
	if _, err := FindPrograms(); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
}

func TestPortsAreClaimedOnce(t *testing.T) {
	a, b := must[*Ports](t)(ClaimPorts()), must[*Ports](t)(ClaimPorts())
	defer a.Release()
	defer b.Release()
	if a.Base == b.Base || a.Base+blockSize > 32768 || a.Base < 1024 {
		t.Errorf("blocks at %d and %d", a.Base, b.Base)
	}
}

func TestUntil(t *testing.T) {
	n := 0
	if err := Until(time.Minute, "three", func() error {
		if n++; n < 3 {
			return errors.New("less")
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("after %d: %v", n, err)
	}
	if err := Until(time.Millisecond, "never", func() error { return errors.New("no") }); err == nil || !strings.Contains(err.Error(), "never: no") {
		t.Errorf("got %v", err)
	}
	if err := Until(time.Hour, "never", func() error { return &Never{errors.New("dead")} }); err == nil || !strings.Contains(err.Error(), "dead") {
		t.Errorf("got %v", err)
	}
}

// TestTheProofsCanFail: what the tests of crashes believe would also notice what must not be.
func TestTheProofsCanFail(t *testing.T) {
	call := func(id string, seq int64) Call {
		return Call{ID: id, ActionID: "a", Cluster: "c", Epoch: 1, Seq: seq, Effective: true}
	}
	if err := CheckFencing([]Call{call("a_1", 5), call("a_1", 5), call("a_2", 6)}); err != nil {
		t.Error(err)
	}
	for what, calls := range map[string][]Call{
		"a repeat with another token": {call("a_1", 5), call("a_1", 6)},
		"a token that goes back":      {call("a_2", 6), call("a_1", 5)},
		"another cluster":             {call("a_1", 5), {ID: "b_1", Cluster: "d", Epoch: 1, Seq: 9}},
		"an older epoch":              {{ID: "b_1", Cluster: "c", Epoch: 2, Seq: 1}, call("a_1", 5)},
	} {
		if CheckFencing(calls) == nil {
			t.Errorf("%s is not noticed", what)
		}
	}
	if n := Effects([]Call{call("a_1", 5), call("a_1", 5), call("a_2", 6)}, "a", "a_1"); n != 2 {
		t.Errorf("%d effects, want 2", n)
	}
}
