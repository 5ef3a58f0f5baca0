package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// replicaVotes asks every configured replica whether it sees what the proposal rests on: how many agree, of how many,
// and for each that does not its reason.
func replicaVotes(v view) (agree, members int, against []string) {
	o := v.e.obs
	if o == nil || o.Members <= 1 {
		return 1, 1, nil
	}
	for _, r := range o.Replicas {
		if why := countable(r, v.at); why != "" {
			against = append(against, why)
			continue
		}
		if why := v.disagrees(r); why != "" {
			against = append(against, why)
			continue
		}
		agree++
	}
	if n := o.Members - len(o.Replicas); n > 0 {
		against = append(against, plural(n, "replica was", "replicas were")+" never heard")
	}
	return agree, o.Members, against
}

// countable is why a replica's word does not count, empty when it does.
func countable(r core.ReplicaView, at time.Time) string {
	switch {
	case r.Heard.IsZero():
		return "nobody knows when " + r.Replica + " last spoke"
	case at.Sub(r.Heard) >= obsFresh:
		return fmt.Sprintf("%s was last heard %s ago", r.Replica, elapsedText(at.Sub(r.Heard)))
	case r.Unfit != "":
		return r.Replica + " cannot be counted: " + r.Unfit
	case r.Tilt.On:
		return withReason(r.Replica+" doubts itself", r.Tilt.Reason)
	case r.FreshSites < freshSites:
		return r.Replica + ": " + fewFresh(r.FreshSites)
	}
	return ""
}

// disagrees is what a replica says instead. Of a whole site it agrees when it sees every service fail that the
// assessment rests on.
func (v view) disagrees(r core.ReplicaView) string {
	wanted := v.p.policy.Condition
	if v.p.person != "" || wanted < core.Suspect {
		wanted = core.Degraded
	}
	subjects := []core.Subject{v.ep.Subject}
	if _, spoken := r.Subject(v.ep.Subject); !spoken && v.ep.Subject.WholeSite() {
		subjects = nil
		for _, svc := range v.e.services(v.ep.Subject) {
			s := core.Subject{Site: v.ep.Subject.Site, Service: svc}
			if a, ok := v.e.reported(s); ok && a.Condition >= wanted {
				subjects = append(subjects, s)
			}
		}
	}
	for _, s := range subjects {
		said := core.Healthy
		if x, ok := r.Subject(s); ok {
			said = x.Condition
		}
		if said < wanted {
			return fmt.Sprintf("%s says %s of %s", r.Replica, said, s)
		}
	}
	if len(subjects) == 0 {
		return r.Replica + " says nothing of " + v.ep.Subject.String()
	}
	return ""
}

// withReplicas adds the word of the other replicas to what the vantages say: a majority of the configured ones must see
// the same.
func withReplicas(v view, r ruled) ruled {
	agree, members, against := replicaVotes(v)
	r.Numbers = slices.Concat(r.Numbers, []core.Number{count("replicas", agree), count("replicas_configured", members)})
	said := fmt.Sprintf("%d of %s", agree, plural(members, "replica agrees", "replicas agree"))
	switch {
	case agree*2 <= members:
		if r.Answer == core.Pass {
			r.Answer, r.kind = core.Object, hard
		}
		r.Sentence += fmt.Sprintf("; only %s, more than half are needed: %s", said, listText(against))
	case r.Answer == core.Pass:
		r.Sentence += ", " + said
	}
	return r
}
