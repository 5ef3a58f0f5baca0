package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// bench is a server alone among stand-ins.
type bench struct {
	*Server
	t     *testing.T
	exec  *Executor
	fleet *Fleet
}

// sites of a bench.
func benchSites() []string { return []string{"fra", "ams", "lon"} }

// benchConfig is a configuration with one service on three sites and one executor; no policy restores by itself.
func benchConfig(hook, secret string) string {
	var b strings.Builder
	b.WriteString("lab: true\nsites:\n")
	for _, s := range benchSites() {
		fmt.Fprintf(&b, "  - {name: %s, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 1000}}\n", s)
	}
	b.WriteString("services:\n  - name: checkout\n    survivors: [fra, ams, lon]\n    entries:\n")
	for _, s := range benchSites() {
		fmt.Fprintf(&b, "      %s: \"http://checkout.%s.test/healthz\"\n", s, s)
	}
	fmt.Fprintf(&b, `policies:
  - {name: dead-service, when: {condition: failing, classes: [outside, inside]}, hold: 3s, plan: drain, mode: automatic}
guards: {max_drained_sites: 1, min_serving: 1, cooldown: 1s, budget: {per_hour: 200, per_day: 2000}, close_after: 2s}
targets:
  - {name: hand, type: webhook, url: "http://%s/hooks/evenkeel", secret: "${file:%s}", allow_private: true}
plans:
  drain:
    - {target: hand, weights: [40], verify: {share_below: 30%%, within: 10s}, on_fail: stop}
    - {target: hand, weights: [0], verify: {share_below: 1%%, within: 10s}, on_fail: stop}
  restore:
    - {target: hand, weights: [100], verify: {success_above: 90%%, within: 10s}, on_fail: stop}
`, hook, secret)
	return b.String()
}

// newBench starts a server, an executor and stand-ins, and waits until the server sees that all is well.
func newBench(t *testing.T) *bench {
	t.Helper()
	p, dir := programs(t), folder(t)
	ports := must[*Ports](t)(ClaimPorts())
	t.Cleanup(ports.Release)
	text := remediations.GenerateSecret()
	secret := must[remediations.Secret](t)(remediations.ParseSecret(text))
	keyFile := filepath.Join(dir, "hand.key")
	writeFile(t, keyFile, text)
	x := must[*Executor](t)(NewExecutor(ports.Addr(580), dir, benchSites(), secret))
	if err := x.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Deaf)
	s := must[*Server](t)(StartServer(t.Context(), p, dir, ports, benchConfig(ports.Addr(580), keyFile)))
	b := &bench{Server: s, t: t, exec: x}
	t.Cleanup(func() {
		if t.Failed() && s.Process != nil {
			t.Logf("the server said:\n%s", s.Process.Output())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	b.fleet = &Fleet{URL: s.URL, Sites: benchSites(), Service: "checkout", Rate: 200, Tokens: map[string]string{}, WeightsOf: x.Weights}
	for _, site := range benchSites() {
		b.fleet.Tokens[site] = must[string](t)(s.Token(t.Context(), "site", site))
	}
	b.fleet.Tokens[EdgeName] = must[string](t)(s.Token(t.Context(), "edge", EdgeName))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { b.fleet.Run(ctx) })
	t.Cleanup(func() { cancel(); all.Wait() })
	b.calm()
	return b
}

// calm waits until the server sees that all is well.
func (b *bench) calm() {
	b.t.Helper()
	b.until(time.Minute, "the server sees that all is well", func() error {
		o, err := b.Conditions(b.t.Context())
		if err != nil {
			return errors.Join(err, b.fleet.Err())
		}
		for _, w := range o.Writers {
			if !w.Fresh {
				return fmt.Errorf("%s %s is not fresh; the stand-ins: %w", w.Kind, w.Name, b.fleet.Err())
			}
		}
		for _, a := range o.Assessments {
			if a.Condition != "healthy" {
				return errors.New(a.Sentence)
			}
		}
		for _, tr := range o.Traffic {
			if !tr.Known || !tr.WeightKnown {
				return fmt.Errorf("traffic of %s is not known", tr.Site)
			}
		}
		if len(o.Writers) != 4 || len(o.Traffic) != 3 || o.Tilt.On {
			return fmt.Errorf("%d writers, %d readings, tilt %v", len(o.Writers), len(o.Traffic), o.Tilt)
		}
		return nil
	})
}

func (b *bench) until(patience time.Duration, what string, ok func() error) {
	b.t.Helper()
	if err := Until(patience, what, ok); err != nil {
		b.t.Fatal(err)
	}
}

// places where a kill can fall, in the order of a command's life.
const (
	beforeRecord  = "before the record"
	notDelivered  = "between record and delivery"
	notApplied    = "in delivery, before the effect"
	notAnswered   = "after the effect, before the answer"
	afterDelivery = "after the answer"
)

// TestKillBetweenRecordAndDelivery: whenever the server dies, a recorded command has exactly one effect, an
// unrecorded one has none, and no step is lost.
func TestKillBetweenRecordAndDelivery(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	want := 8
	if *long {
		want = 50
	}
	// Without a kill, by the operator's own command: the ground that the kills stand on.
	if _, err := b.Command(t.Context(), "drain", "fra", "checkout", "--reason", "to see it work"); err != nil {
		t.Fatal(err)
	}
	b.settled("fra", 0)
	tally := map[string]int{}
	hit := func() int { return tally[notDelivered] + tally[notApplied] + tally[notAnswered] }
	weight, moment := 0, 40*time.Millisecond
	for round := 0; hit() < want && round < 4*want; round++ {
		place, action := b.killDuring(round, weight, moment)
		tally[place]++
		switch place { // how long a record and a delivery take is the machine's affair
		case beforeRecord:
			moment = min(2*moment, 2*time.Second)
		case afterDelivery:
			moment = max(moment/2, 20*time.Millisecond)
		}
		if place != beforeRecord {
			weight = 100 - weight
		}
		b.settled("fra", weight)
		b.oneEffect(place, action, weight)
	}
	t.Logf("%d kills between record and answer, %v", hit(), tally)
	if hit() < want || tally[notDelivered] == 0 {
		t.Errorf("%d kills fell where they should, want %d: %v", hit(), want, tally)
	}
	calls := b.exec.Calls()
	if err := CheckFencing(calls); err != nil {
		t.Error(err)
	}
	repeats := 0
	for i, c := range calls {
		if slices.ContainsFunc(calls[:i], func(p Call) bool { return p.ID == c.ID }) {
			repeats++
		}
		if c.Status != 200 && !c.Answered.IsZero() {
			t.Errorf("the executor answered %d to %s", c.Status, c.ID)
		}
	}
	t.Logf("%d deliveries, %d of them repeats with the same webhook-id and token", len(calls), repeats)
}

// killDuring gives an order and kills the server within the given time after it, says where that fell, and starts it again.
func (b *bench) killDuring(round, weight int, moment time.Duration) (place, action string) {
	b.t.Helper()
	kind, steps := "drain", 2
	if weight == 0 {
		kind, steps = "restore", 1
	}
	deaf := round%3 == 0
	wait := moment/8 + rand.N(moment)
	switch {
	case deaf:
		b.exec.Deaf()
	case round%3 == 1:
		b.exec.Behave(Manner{Before: wait})
	default:
		b.exec.Behave(Manner{After: wait})
	}
	since, known := time.Now(), len(b.exec.Calls())
	done := make(chan struct{})
	go func() { // its answer may be lost with the server
		defer close(done)
		_, _ = b.Order(b.t.Context(), map[string]any{
			"kind": kind, "reason": "a kill follows", "subject": Subject{Site: "fra", Service: "checkout"},
		})
	}()
	if *long && round%5 == 4 {
		moment = 4 * time.Second // anywhere: between steps, while it verifies
	}
	time.Sleep(rand.N(moment)) // the moment of the kill is the thing under test
	b.Kill()
	killed := time.Now()
	<-done
	if deaf {
		if err := b.exec.Listen(); err != nil {
			b.t.Fatal(err)
		}
	}
	b.exec.Behave(Manner{})
	if err := b.Start(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.AwaitReady(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	list := must[[]Action](b.t)(b.Actions(b.t.Context()))
	i := slices.IndexFunc(list, func(a Action) bool { return !a.CreatedAt.Before(since.Add(-time.Millisecond)) })
	if i < 0 {
		return beforeRecord, ""
	}
	act := list[i]
	if act.Kind != kind || len(act.Steps) != steps {
		b.t.Fatalf("the order to %s became %s", kind, brief(act))
	}
	return b.place(act.ID, known, killed), act.ID
}

// place says where the kill fell, by what the executor saw of the action's first step before it.
func (b *bench) place(action string, known int, killed time.Time) string {
	place := notDelivered
	for _, c := range b.exec.Calls()[known:] {
		before := func(at time.Time) bool { return !at.IsZero() && at.Before(killed) }
		switch {
		case c.ActionID != action || !before(c.Arrived):
		case before(c.Answered):
			return afterDelivery
		case before(c.Applied):
			place = notAnswered
		case place == notDelivered:
			place = notApplied
		}
	}
	return place
}

// settled waits until no action is under way and site, ledger and executor agree on the weight.
func (b *bench) settled(site string, weight int) {
	b.t.Helper()
	b.until(3*time.Minute, fmt.Sprintf("%s has settled at weight %d", site, weight), func() error {
		list, err := b.Actions(b.t.Context())
		if err != nil {
			return err
		}
		for _, a := range list {
			if !a.Final() {
				return errors.New(a.State + ": " + a.Sentence)
			}
			if a.State != "succeeded" {
				b.t.Fatalf("%s of %s ended %s: %s", a.Kind, a.Subject.Site, a.State, brief(a))
			}
		}
		sites, err := b.Sites(b.t.Context())
		if err != nil {
			return err
		}
		for _, s := range sites {
			want := 100
			if s.Name == site {
				want = weight
			}
			if got := b.exec.Weights()[s.Name]; s.Services[0].Weight != want || got != want {
				return fmt.Errorf("%s has weight %d in the ledger and %d at the executor, want %d", s.Name, s.Services[0].Weight, got, want)
			}
		}
		return nil
	})
	b.calm()
}

// oneEffect checks that each step of the action had one effect, and that nothing else had any.
func (b *bench) oneEffect(place, action string, weight int) {
	b.t.Helper()
	calls := b.exec.Calls()
	actions := must[[]Action](b.t)(b.Actions(b.t.Context()))
	total := 0
	for _, a := range actions {
		for _, s := range a.Steps {
			total++
			id := fmt.Sprintf("%s_%d", a.ID, s.N)
			if n := Effects(calls, a.ID, id); n != 1 || s.State != "succeeded" {
				b.t.Errorf("killed %s: step %s is %s and had %d effects, want 1: %s", place, id, s.State, n, brief(calls))
			}
		}
	}
	if n := Effects(calls, "", ""); n != total {
		b.t.Errorf("killed %s: %d effects for %d recorded steps", place, n, total)
	}
	b.t.Logf("killed %s: %s, weight %d; %d effects for %d steps", place, action, weight, Effects(calls, "", ""), total)
}
