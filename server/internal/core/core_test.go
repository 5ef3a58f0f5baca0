package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestIDsAreDerived(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	s := Subject{Site: "fra", Service: "checkout"}
	if a, b := EpisodeID(s, at), EpisodeID(s, at.In(time.FixedZone("", 3600))); a != b || !strings.HasPrefix(a, "ep_") || len(a) != 23 {
		t.Errorf("%s and %s", a, b)
	}
	seen := map[string]bool{}
	for _, id := range []string{
		EpisodeID(s, at), EpisodeID(s, at.Add(time.Millisecond)), EpisodeID(Subject{Site: "fra", Service: "cart"}, at),
		EpisodeID(Subject{Site: "fra", Service: "checkout", Unit: "eu"}, at), ActionID("ep_a", "drain", 1), ActionID("ep_a", "drain", 2),
		ActionID("ep_a", "drain1", 2), DecisionID("ep_a", 1), NoticeID("ep_a", 1),
	} {
		if seen[id] {
			t.Errorf("%s stands for two things", id)
		}
		seen[id] = true
	}
	if got := WebhookID("act_x", 2); got != "act_x_2" || strings.Contains(got, ".") {
		t.Error(got)
	}
}

// The wire values are a contract: the zero is unknown in each of them.
func TestEnumsReadWhatTheyWrite(t *testing.T) {
	f := func(v interface{ MarshalText() ([]byte, error) }, read func([]byte) error, want string) {
		t.Helper()
		text, err := v.MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
		if err := read(text); err != nil {
			t.Error(err)
		}
		if err := read([]byte("splendid")); err == nil || !strings.Contains(err.Error(), "is not one of") {
			t.Errorf("%T takes anything: %v", v, err)
		}
	}
	f(Failing, new(Condition).UnmarshalText, "failing")
	f(ProbeDown, new(ProbeState).UnmarshalText, "down")
	f(LinkNoPrimary, new(LinkState).UnmarshalText, "no_primary")
	f(DetectorAnomalous, new(DetectorState).UnmarshalText, "anomalous")
	f(RoutingRestoring, new(RoutingState).UnmarshalText, "restoring")
	f(VerdictIgnore, new(Verdict).UnmarshalText, "ignore")
	f(ModeAutomatic, new(Mode).UnmarshalText, "automatic")
	f(Bound, new(Answer).UnmarshalText, "bound")
	f(ActionExpired, new(ActionState).UnmarshalText, "expired")
	f(StepExpired, new(StepState).UnmarshalText, "expired")
	f(ClassLink, new(Class).UnmarshalText, "link")
	zeros := []fmt.Stringer{Condition(0), ProbeState(0), LinkState(0), DetectorState(0), RoutingState(0), Verdict(0), Mode(0), Answer(0), ActionState(0), StepState(0), Class(0)}
	for _, z := range zeros {
		if z.String() != "unknown" {
			t.Errorf("the zero of %T is %s", z, z)
		}
	}
	if Condition(200).String() != "unknown" {
		t.Error("a value outside the table is not unknown")
	}
}

func TestOldFactsDoNotVote(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := func(age, offset, clockErr time.Duration, known bool, want bool) {
		t.Helper()
		fact := Fact{
			AgentAt: now.Add(-age).Add(offset), ReceivedAt: now, Interval: time.Second,
			ClockKnown: known, ClockOffset: offset, ClockErr: clockErr,
		}
		if got := fact.History(now); got != want {
			t.Errorf("age %s offset %s: history is %v, want %v", age, offset, got, want)
		}
	}
	f(time.Second, 0, 0, true, false)
	f(4*time.Second, 0, 0, true, true)
	f(time.Second, time.Hour, 0, true, false)             // a clock an hour ahead, corrected
	f(4*time.Second, -time.Hour, 0, true, true)           // an hour behind, and old
	f(-4*time.Second, 0, 0, true, true)                   // from the future
	f(3500*time.Millisecond, 0, time.Second, true, false) // within the error of the clock
	f(12*time.Second, 0, 0, false, false)                 // before the first exchange the receipt stands in
	f(0, 12*time.Second, 0, false, false)                 // with an allowance for the clock
	f(14*time.Second, 0, 0, false, true)                  // a backlog of a writer whose clock nobody knows
	f(time.Hour, 0, 0, false, true)                       // the same
	f(0, time.Hour, 0, false, true)                       // its clock is an hour ahead: unknown is better than wrong
}

func TestErrorsSayWhatToDo(t *testing.T) {
	err := fmt.Errorf("open: %w", &Error{Code: CodeConflict, Message: "in use", Hint: "stop the other", Err: fs.ErrExist})
	if Code(err) != CodeConflict || !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "(stop the other)") {
		t.Error(err)
	}
	if Code(errors.New("x")) != CodeInternal {
		t.Error("an error without a code is internal")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := Secret("hunter2")
	text, err := json.Marshal(struct{ S Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q", s, s, s, s), string(text)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("shown: %s", shown)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("lost")
	}
}

func TestSubjectsCoverAndOverlap(t *testing.T) {
	fra, all := Subject{Site: "fra"}, Subject{Site: "fra", Service: AllServices}
	cart, unit := Subject{Site: "fra", Service: "cart"}, Subject{Site: "fra", Service: "cart", Unit: "eu"}
	other, ams := Subject{Site: "fra", Service: "search"}, Subject{Site: "ams", Service: "cart"}
	f := func(a, b Subject, covers, covered bool) {
		t.Helper()
		if a.Covers(b) != covers || b.Covers(a) != covered || a.Overlaps(b) != (covers || covered) || b.Overlaps(a) != (covers || covered) {
			t.Errorf("%v and %v: covers %t, is covered %t, overlaps %t", a, b, a.Covers(b), b.Covers(a), a.Overlaps(b))
		}
	}
	f(fra, all, true, true)
	f(all, cart, true, false)
	f(cart, unit, true, true)
	f(cart, other, false, false)
	f(cart, ams, false, false)
	f(all, ams, false, false)
}
