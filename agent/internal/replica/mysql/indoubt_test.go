package mysql

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func TestInDoubt(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var kept map[string]time.Time
	f := func(what string, second int, names replica.Opt[[]string], want ...float64) {
		t.Helper()
		var got []replica.Measure
		kept, got = inDoubt(names, kept, begin.Add(time.Duration(second)*time.Second))
		if len(got) != len(want) {
			t.Errorf("%s: %+v, want %v", what, got, want)
			return
		}
		for i := range want {
			if got[i].Value != want[i] {
				t.Errorf("%s: %s is %v, want %v", what, got[i].Name, got[i].Value, want[i])
			}
		}
	}
	some := func(names ...string) replica.Opt[[]string] { return replica.Some(names) }
	f("none", 0, some(), 0)
	f("one", 1, some("x"), 1, 0)
	f("it stays", 4, some("x"), 1, 3)
	f("not known", 5, replica.Opt[[]string]{})
	f("another", 6, some("y", "x"), 2, 5)
	f("the first is decided", 9, some("y"), 1, 3)
	f("a new one of the same name is as old as it is seen", 10, some(), 0)
	f("again", 11, some("x"), 1, 0)
}
