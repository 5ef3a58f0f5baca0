package act_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// verify performs an intent at an edge that fares as given once the executor has said done.
func verify(t *testing.T, change func(*core.Intent), fares func(*edge), kind core.OutcomeKind, sentence string) time.Duration {
	t.Helper()
	var took time.Duration
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		r.sender.do = []script{func(context.Context) (remediations.Receipt, error) {
			r.edge.set(fares)
			return remediations.Receipt{State: remediations.StateDone}, nil
		}}
		in := intent()
		change(&in)
		start := time.Now()
		r.Perform(in)
		time.Sleep(time.Minute)
		synctest.Wait()
		o := r.story.last()
		took = o.At.Sub(start)
		if o.Kind != kind || !strings.Contains(o.Sentence, sentence) {
			t.Errorf("%s %q after %s, want %s %q", o.Kind, o.Sentence, took, kind, sentence)
		}
	})
	return took
}

func TestIneffective(t *testing.T) {
	same := func(*core.Intent) {}
	took := verify(t, same, func(e *edge) { e.weight = 0 }, core.OutcomeIneffective, "director: share 33 % -> 33 %, users' success 99.9 % in 10 s: nothing moved")
	if took < 10*time.Second || took > 11*time.Second {
		t.Errorf("after %s, want the 10s of Within", took)
	}
	verify(t, same, func(e *edge) { e.weight, e.share = 0, 0.12 }, core.OutcomeIneffective, "wanted below 1 %")
	verify(t, same, func(*edge) {}, core.OutcomeIneffective, "the edge reports weight 100 %, wanted 0 %")
}

func TestCannotTell(t *testing.T) {
	same := func(*core.Intent) {}
	verify(t, same, func(e *edge) { e.silentAt = time.Now() }, core.OutcomeCannotTell, "no fresh figures of the edge")
	verify(t, same, func(e *edge) { e.weight = 0; e.silentAt = time.Now().Add(2 * time.Second) }, core.OutcomeCannotTell, "said nothing for")
	verify(t, same, func(e *edge) { e.weight, e.rate = 0, 0 }, core.OutcomeCannotTell, "no user asked")
}

func TestStepThatAsksForNothing(t *testing.T) {
	nothing := func(in *core.Intent) { in.Verify = core.VerifySpec{} }
	verify(t, nothing, func(e *edge) { e.weight, e.share = 0, 0.002 }, core.OutcomeVerified, "33 % -> 0.2 %")
	verify(t, nothing, func(e *edge) { e.weight, e.share = 0, 0.33 }, core.OutcomeIneffective, "nothing moved")
	half := func(in *core.Intent) { nothing(in); in.Weight = 50 }
	verify(t, half, func(e *edge) { e.weight = 50 }, core.OutcomeVerified, "")
	verify(t, half, func(e *edge) { e.weighs = false }, core.OutcomeCannotTell, "asks for nothing")
}

func restore(weight int, spec core.VerifySpec) func(*core.Intent) {
	return func(in *core.Intent) {
		in.Kind, in.State, in.Weight, in.Verify = core.PlanRestore, core.RoutingRestoring, weight, spec
		in.Before.Share = 0
	}
}

func TestRestore(t *testing.T) {
	step := restore(10, core.VerifySpec{ShareAbove: 0.01, SuccessAbove: 0.99, Within: 10})
	verify(t, step, func(e *edge) { e.weight, e.share = 10, 0.033 }, core.OutcomeVerified, "share 0 % -> 3.3 %, the site's success 100 % of ")
	verify(t, step, func(e *edge) { e.weight, e.share, e.success = 10, 0.033, 0.8 }, core.OutcomeIneffective, "requests failed, wanted 99.0 % success")
	verify(t, step, func(e *edge) { e.weight, e.share = 10, 0 }, core.OutcomeIneffective, "nothing moved")
	// One request a second and a half: enough are awaited.
	few := restore(1, core.VerifySpec{ShareAbove: 0.001, SuccessAbove: 0.99, Within: 30})
	took := verify(t, few, func(e *edge) { e.weight, e.rate, e.share = 1, 200, 0.0033 }, core.OutcomeVerified, "")
	if took < 10*time.Second || took > 29*time.Second {
		t.Errorf("verified after %s, want once ten requests were seen", took)
	}
	verify(t, few, func(e *edge) { e.weight, e.rate, e.share, e.success = 1, 200, 0.0033, 0 }, core.OutcomeIneffective, "failed")
	verify(t, few, func(e *edge) { e.weight, e.rate, e.share = 1, 200, 0 }, core.OutcomeCannotTell, "too few users")
}

// A view that cannot be asked for a time is believed only once its whole window lies after done.
func TestViewWithoutSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge()
		e.weight, e.share = 0, 0
		s := &story{}
		h := act.New(act.Options{
			Targets: map[string]act.Sender{"director": &sender{do: []script{answers(remediations.StateDone)}}},
			Edge:    plain{e}, Outcomes: s.outcome, NoticeOutcomes: s.notice, Identity: func() core.Identity { return core.Identity{ClusterID: "c_1", Epoch: 1} },
		})
		start := time.Now()
		h.Perform(intent())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if o := s.last(); o.Kind != core.OutcomeVerified || o.After.At.Sub(start) < 10*time.Second {
			t.Errorf("%s %s on data of %s after done", o.Kind, o.Sentence, o.After.At.Sub(start))
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type plain struct{ e *edge }

func (p plain) Traffic(site, service string) core.Traffic { return p.e.Traffic(site, service) }

// The data of the moment of done is not believed, however good it looks: one good look of before is no proof.
func TestBlipIsNotEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		r.sender.do = []script{r.moves(0, 0)}
		in := intent()
		r.Perform(in)
		time.Sleep(1500 * time.Millisecond) // one look
		r.edge.set(func(e *edge) { e.share = 0.33 })
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if o := r.story.last(); o.Kind != core.OutcomeIneffective {
			t.Errorf("%s %s", o.Kind, o.Sentence)
		}
	})
}

func TestWholeSite(t *testing.T) {
	f := func(services func(string) []string, kept string, unit string, kind core.OutcomeKind, sentence string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			two := &twoServices{checkout: newEdge(), search: newEdge()}
			two.search.rate = 100
			s := &story{}
			h := act.New(act.Options{
				Targets: map[string]act.Sender{"director": &sender{do: []script{func(context.Context) (remediations.Receipt, error) {
					for name, e := range map[string]*edge{"checkout": two.checkout, "search": two.search} {
						if name != kept {
							e.set(func(e *edge) { e.weight, e.share = 0, 0 })
						}
					}
					return remediations.Receipt{State: remediations.StateDone}, nil
				}}}},
				Edge: two, Services: services, Outcomes: s.outcome, NoticeOutcomes: s.notice,
				Identity: func() core.Identity { return core.Identity{ClusterID: "c_1", Epoch: 1} },
			})
			in := intent()
			in.Subject = core.Subject{Site: "fra", Service: core.AllServices, Unit: unit}
			h.Perform(in)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if o := s.last(); o.Kind != kind || !strings.Contains(o.Sentence, sentence) {
				t.Errorf("%s %q, want %s %q", o.Kind, o.Sentence, kind, sentence)
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both := func(string) []string { return []string{"checkout", "search"} }
	f(both, "", "", core.OutcomeVerified, "share 33 % -> 0 %")
	f(both, "search", "", core.OutcomeIneffective, "share 33 % -> 8.2 %") // a quarter of a third
	f(nil, "", "", core.OutcomeCannotTell, "no fresh figures")
	f(both, "", "7", core.OutcomeCannotTell, "no fresh figures")
}

// twoServices is an edge with two services.
type twoServices struct{ checkout, search *edge }

func (s *twoServices) Traffic(site, service string) core.Traffic {
	return s.TrafficSince(site, service, time.Time{})
}

func (s *twoServices) TrafficSince(site, service string, since time.Time) core.Traffic {
	switch service {
	case "checkout":
		return s.checkout.TrafficSince(site, service, since)
	case "search":
		return s.search.TrafficSince(site, service, since)
	}
	return core.Traffic{}
}
