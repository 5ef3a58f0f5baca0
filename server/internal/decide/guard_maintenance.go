package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// ruleMaintenance is guard 18: nobody works at the subject, nor, for a drain, where its users would go. However dead a
// subject is: what a person turned off is dead too, and who works there knows best.
func ruleMaintenance(v view) ruled {
	sub, on := v.ep.Subject, 0
	for range v.e.topo.Maintenances(v.at) {
		on++
	}
	if c := v.e.topo.Maintenance(sub, v.at); c != nil {
		return object(maintenanceText(c, v.at), seconds("left", c.Until().Sub(v.at)))
	}
	if v.p.restores() {
		return pass("nobody works at "+sub.String(), count("under_way", on))
	}
	takers := 0
	for _, svc := range v.e.services(sub) {
		for _, to := range v.e.takers(sub.Site, svc) {
			if c := v.e.topo.Maintenance(to, v.at); c != nil {
				return object(fmt.Sprintf("users of %s at %s would go to %s: %s", svc, sub.Site, to.Site, maintenanceText(c, v.at)),
					seconds("left", c.Until().Sub(v.at)))
			}
			takers++
		}
	}
	return pass(fmt.Sprintf("nobody works at %s, nor where its users would go", sub), count("takers", takers), count("under_way", on))
}

// takers are where the users of a service go when its site is drained: every other site that users are sent to and that may
// have them, whatever its health.
func (e *Engine) takers(site, service string) []core.Subject {
	svc, _ := e.topo.Service(service)
	var out []core.Subject
	for _, to := range e.topo.Serving(service) {
		sub := core.Subject{Site: to, Service: service}
		away := e.routingOf(sub).State
		if to == site || away == core.RoutingDrained || away == core.RoutingDraining || len(svc.Survivors) > 0 && !slices.Contains(svc.Survivors, to) {
			continue
		}
		out = append(out, sub)
	}
	return out
}

func maintenanceText(c *core.DeclaredChange, at time.Time) string {
	return fmt.Sprintf("%s is under maintenance by %s until %s: %s", c.About(), c.By, dayText(c.Until(), at), c.What)
}
