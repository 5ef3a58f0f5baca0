package deadman

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

func rules() Rules {
	return Rules{After: 2 * time.Minute, Gap: 3 * time.Second, Lapse: 5 * time.Second, Steady: 15 * time.Second}
}

// world is one agent, the servers it asks each second, and PagerDuty.
type world struct {
	t       *testing.T
	sw      *Switch
	at      time.Time
	began   time.Time
	cluster string
	servers []string
	state   map[string]Outcome // absent: Silent
	why     map[string]string
	pd      Verdict
	story   []string // what happened at which second
	last    pagerduty.Event
}

func newWorld(t *testing.T, servers ...string) *world {
	began := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	w := &world{
		t: t, at: began, began: began, cluster: "c_7f3a", servers: servers,
		state: map[string]Outcome{}, why: map[string]string{}, pd: Accepted,
	}
	w.restart(nil)
	return w
}

func (w *world) restart(r Record) {
	w.sw = New(Options{
		Rules: rules(), Servers: w.servers, Who: Who{Site: "fra", Host: "h1", Agent: "ag_1"}, Record: r, Start: w.at,
	})
}

func (w *world) set(o Outcome, servers ...string) {
	for _, s := range servers {
		w.state[s] = o
	}
}

// run lets the time pass, a second at a time.
func (w *world) run(d time.Duration) {
	for end := w.at.Add(d); w.at.Before(end); {
		w.at = w.at.Add(time.Second)
		for _, server := range w.servers {
			changes := w.sw.Heard(Report{Server: server, At: w.at, Outcome: w.state[server], Why: w.why[server]})
			for _, c := range changes {
				if !c.Raised && !c.Paged {
					w.note("forgotten " + c.Kind.String())
				}
			}
		}
		call, ok := w.sw.Next(w.at, w.cluster)
		if !ok {
			continue
		}
		if !w.sw.Record()[call.Kind.String()].Open {
			w.t.Error("an event leaves before it is on record")
		}
		w.last = call.Event
		w.note(call.Event.Action.String() + " " + call.Kind.String())
		w.sw.Told(call, w.pd, w.at, 0)
	}
}

func (w *world) note(what string) {
	w.story = append(w.story, fmt.Sprintf("%.0f %s", w.at.Sub(w.began).Seconds(), what))
}

func (w *world) want(story ...string) {
	w.t.Helper()
	if !slices.Equal(w.story, story) {
		w.t.Errorf("it went\n  %s\nwant\n  %s", strings.Join(w.story, "\n  "), strings.Join(story, "\n  "))
	}
}

func TestOneAnswerOfThreeIsEnough(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.set(Answered, "c")
	w.run(time.Hour)
	w.set(Silent, "c")
	w.set(Answered, "a") // another one now
	w.run(time.Hour)
	w.want()
	if len(w.sw.Record()) != 0 {
		t.Errorf("there is something on record: %v", w.sw.Record())
	}
}

func TestItPagesRepeatsAndCloses(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.set(Answered, "a", "b", "c")
	w.run(10 * time.Second)
	w.set(Silent, "a", "b", "c")
	w.run(12 * time.Minute)
	w.set(Answered, "b")
	w.run(time.Minute)
	w.want("130 trigger no-server", "430 update no-server", "730 update no-server", "746 resolve no-server")
	if len(w.sw.Record()) != 0 {
		t.Errorf("there is something on record: %v", w.sw.Record())
	}
}

func TestAnswersThatDoNotLastCloseNothing(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.run(3 * time.Minute)
	for range 20 { // 10 s up, 20 s down
		w.set(Answered, "a")
		w.run(10 * time.Second)
		w.set(Silent, "a")
		w.run(20 * time.Second)
	}
	w.want("121 trigger no-server")
	w.set(Answered, "b")
	w.run(time.Minute)
	w.want("121 trigger no-server", "796 resolve no-server")
}

func TestAnAgentOfWhichNobodyKnowsForgets(t *testing.T) {
	w := newWorld(t, "a")
	w.set(Answered, "a")
	w.run(10 * time.Second)
	w.set(Silent, "a")
	w.pd = NotSent // its network is cut
	w.run(3 * time.Minute)
	w.set(Answered, "a")
	w.pd = Accepted
	w.run(10 * time.Minute)
	// Another agent may have an alert open under the same key: it is not ours to close.
	w.want("130 trigger no-server", "140 trigger no-server", "160 trigger no-server", "191 forgotten no-server")
}

func TestAPageThatIsLateSaysSo(t *testing.T) {
	w := newWorld(t, "a")
	w.set(Answered, "a")
	w.run(10 * time.Second)
	w.set(Silent, "a")
	w.pd = NotSent
	w.run(2 * time.Hour)
	w.story, w.pd = nil, Accepted
	w.run(3 * time.Minute)
	if len(w.story) != 1 || !strings.Contains(w.last.Summary, "since 2026-11-26 10:00:10 UTC") || !strings.Contains(w.last.Summary, " late)") {
		t.Errorf("%v: %s", w.story, w.last.Summary)
	}
	if i := slices.IndexFunc(w.last.Details, func(d pagerduty.Detail) bool { return d.Name == "late" }); i < 0 ||
		!strings.Contains(w.last.Details[i].Value, "due at 2026-11-26 10:02:10 UTC") {
		t.Errorf("details %v", w.last.Details)
	}
}

func TestBackoff(t *testing.T) {
	f := func(v Verdict, want ...string) {
		t.Helper()
		w := newWorld(t, "a")
		w.pd = v
		w.run(20 * time.Minute)
		w.want(want...)
	}
	const trigger = " trigger no-server"
	f(NotSent, "121"+trigger, "131"+trigger, "151"+trigger, "191"+trigger, "271"+trigger, "391"+trigger, "511"+trigger,
		"631"+trigger, "751"+trigger, "871"+trigger, "991"+trigger, "1111"+trigger)
	f(TurnedAway, "121"+trigger, "721"+trigger)
	w := newWorld(t, "a")
	w.run(2 * time.Minute)
	w.pd = Unclear
	w.run(time.Minute)
	w.set(Answered, "a")
	w.pd = Accepted
	w.run(time.Minute)
	// Nobody knows whether the alert is open, so it is closed.
	w.want("121 trigger no-server", "131 trigger no-server", "151 trigger no-server", "196 resolve no-server")
}

func TestAResolveIsTriedAgainAndGivesWayToNewTrouble(t *testing.T) {
	w := newWorld(t, "a")
	w.run(3 * time.Minute)
	w.set(Answered, "a")
	w.pd = Unclear
	w.run(30 * time.Second)
	w.want("121 trigger no-server", "196 resolve no-server", "206 resolve no-server")
	key := w.last.DedupKey
	w.story = nil
	w.set(Silent, "a")
	w.run(30 * time.Second)
	w.pd = NotSent
	w.run(100 * time.Second)
	w.pd = Accepted
	w.run(time.Minute)
	w.set(Answered, "a")
	w.run(time.Minute)
	w.want("226 resolve no-server", "266 resolve no-server", "330 trigger no-server", "340 trigger no-server", "360 trigger no-server", "416 resolve no-server")
	if w.last.DedupKey != key {
		t.Errorf("closed %s, opened %s", w.last.DedupKey, key)
	}
}

// The machine slept, or the process was stopped: nobody was asked meanwhile.
func TestSleepIsNotSilence(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.set(Answered, "a", "b")
	w.run(10 * time.Second)
	w.set(Silent, "a", "b") // the network is not up yet when it wakes
	for range 10 {
		w.at = w.at.Add(10 * time.Minute)
		w.run(5 * time.Second)
	}
	w.want()
	w.set(Answered, "b")
	w.run(time.Second)
	w.set(Silent, "b")
	w.run(2 * time.Minute)
	if len(w.story) != 1 || !strings.HasSuffix(w.story[0], "trigger no-server") {
		t.Errorf("it went %v", w.story)
	}
}

// Heartbeats that each wait for their deadline count in full.
func TestBlackHolesCount(t *testing.T) {
	sw := New(Options{Rules: rules(), Servers: []string{"a"}, Start: time.Unix(0, 0)})
	raised := 0
	for i := range 70 {
		for _, c := range sw.Heard(Report{Server: "a", At: time.Unix(int64(2*i), 0), Outcome: Silent}) {
			if c.Raised {
				raised = 2 * i
			}
		}
	}
	if raised != 120 {
		t.Errorf("raised after %d s", raised)
	}
}

func TestARestartedAgentCloses(t *testing.T) {
	w := newWorld(t, "a")
	w.run(3 * time.Minute)
	key := w.last.DedupKey
	w.cluster = "another"
	w.restart(w.sw.Record())
	w.run(time.Minute)
	w.set(Answered, "a")
	w.run(time.Minute)
	w.want("121 trigger no-server", "256 resolve no-server")
	if w.last.DedupKey != key {
		t.Errorf("closed %s, opened %s", w.last.DedupKey, key)
	}
	// One that comes back into the trouble says so again, in time.
	w = newWorld(t, "a")
	w.run(3 * time.Minute)
	w.restart(w.sw.Record())
	w.run(6 * time.Minute)
	w.want("121 trigger no-server", "421 update no-server")
}

func TestARestartBeforeThePageKeepsSinceWhen(t *testing.T) {
	w := newWorld(t, "a")
	w.set(Answered, "a")
	w.run(10 * time.Second)
	w.set(Silent, "a")
	w.pd = NotSent
	w.run(3 * time.Minute)
	w.pd = Accepted
	w.story = nil
	w.at = w.at.Add(time.Hour) // it was off
	w.restart(w.sw.Record())
	w.run(time.Minute)
	w.want() // it asks as long as any other before it pages
	w.run(2 * time.Minute)
	if len(w.story) != 1 || !strings.Contains(w.last.Summary, "since 2026-11-26 10:00:10 UTC") {
		t.Errorf("%v: %s", w.story, w.last.Summary)
	}
	// An answer ends what an earlier run remembered.
	w.restart(Record{NoServer.String(): {Since: w.began}})
	w.set(Answered, "a")
	w.run(time.Second)
	if len(w.sw.Record()) != 0 {
		t.Errorf("there is something on record: %v", w.sw.Record())
	}
}

func TestLockedOutIsAnAlarmOfItsOwn(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.run(3 * time.Minute)
	w.set(Refused, "b")
	w.why["b"] = "it answered 401: the token is not accepted"
	w.run(time.Minute)
	w.want("121 trigger no-server", "181 trigger locked-out", "196 resolve no-server")
	f := func(now time.Duration, want ...string) {
		t.Helper()
		w.story = nil
		w.run(now)
		w.want(want...)
	}
	w.set(Silent, "b") // nobody refuses any more; both alarms know their own
	f(3*time.Minute, "360 trigger no-server")
	w.set(Answered, "a")
	f(time.Minute, "436 resolve no-server", "437 resolve locked-out")
}

func TestARefusalBesideAnAnswerIsNoAlarm(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.set(Refused, "a")
	w.set(Answered, "b")
	w.run(time.Hour)
	w.want()
}

func TestKeys(t *testing.T) {
	f := func(cluster, want string, servers ...string) {
		t.Helper()
		w := newWorld(t, servers...)
		w.cluster = cluster
		w.run(3 * time.Minute)
		if w.last.DedupKey != want {
			t.Errorf("%v: key %s, want %s", servers, w.last.DedupKey, want)
		}
	}
	f("c_7f3a", "evenkeel:_server:no-server:c_7f3a", "a", "b")
	f("c_7f3a", "evenkeel:_server:no-server:c_7f3a", "x")
	f("", "evenkeel:_server:no-server:servers-911169ddaaf146aff539", "a", "b")
	f("", "evenkeel:_server:no-server:servers-911169ddaaf146aff539", "b", "a", "b")
}

func TestWords(t *testing.T) {
	w := newWorld(t, "https://a", "https://b", "https://c")
	w.set(Answered, "https://a", "https://b")
	w.run(10 * time.Second)
	w.set(Silent, "https://b")
	w.why["https://b"] = "no answer: connection refused"
	w.run(20 * time.Second)
	w.set(Silent, "https://a")
	w.run(2 * time.Minute)
	e := w.last
	if e.Summary != "None of the 3 Evenkeel servers answers since 2026-11-26 10:00:30 UTC, seen from fra: "+
		"nothing judges the sites, nothing is drained by itself" {
		t.Error(e.Summary)
	}
	want := []pagerduty.Detail{
		{Name: "seen_by", Value: "agent ag_1 on h1 at site fra"},
		{Name: "since", Value: "2026-11-26 10:00:30 UTC, 2m0s ago; asked in vain for at least 2m0s"},
		{Name: "https://a", Value: "last answered 2m0s ago, at 2026-11-26 10:00:30 UTC"},
		{Name: "https://b", Value: "last answered 2m20s ago, at 2026-11-26 10:00:10 UTC; last error: no answer: connection refused"},
		{Name: "https://c", Value: "has not answered since this agent started 2m30s ago"},
	}
	if len(e.Details) != len(want)+1 || !slices.Equal(e.Details[:len(want)], want) {
		t.Errorf("details %q", e.Details)
	}
	if e.Severity != pagerduty.Critical || e.Class != "no-server" || e.Group != "fra" {
		t.Errorf("event %+v", e)
	}

	w = newWorld(t, "https://a")
	w.set(Refused, "https://a")
	w.why["https://a"] = "it answered 401"
	w.run(3 * time.Minute)
	if want := "Evenkeel lives but refuses the agent at fra since 2026-11-26 10:00:00 UTC: https://a: it answered 401"; w.last.Summary != want ||
		w.last.Severity != pagerduty.Error {
		t.Errorf("%s: %s", w.last.Severity, w.last.Summary)
	}
}

// What is not known is a zero value, and never an answer.
func TestTheZeroValuesAccuseNobodyFalsely(t *testing.T) {
	w := newWorld(t, "a")
	w.set(OutcomeUnknown, "a")
	w.pd = VerdictUnknown
	w.run(2 * time.Minute)
	if w.sw.Heard(Report{Server: "stranger", At: w.at, Outcome: Answered}) != nil {
		t.Error("a server that is not in the list was heard")
	}
	w.run(2 * time.Second)
	if r := w.sw.Record()[NoServer.String()]; !r.Open || !r.Said.IsZero() {
		t.Errorf("record %+v", r)
	}
}
