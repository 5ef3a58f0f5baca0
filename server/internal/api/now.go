package api

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// GetStatus answers GET /status.
func (s *server) GetStatus(ctx context.Context, _ GetStatusRequestObject) (GetStatusResponseObject, error) {
	open, err := s.Records.OpenEpisodes(ctx, 0)
	if err != nil {
		return nil, err
	}
	brake, err := s.Records.Brake(ctx)
	if err != nil {
		return nil, err
	}
	who, topo, stance := s.Records.Identity(), s.Live.Topology(), s.Self.Stance()
	out := Status{
		Version: s.Version, StartedAt: s.Started.UTC(),
		ClusterID: who.ClusterID, Epoch: who.Epoch, Pending: some(who.Pending), Revision: s.Records.Revision(),
		TopologyRevision: topo.Revision, Lab: topo.Lab,
		Acting: stance.Acting, Reason: some(stance.Reason),
		Statistics: stance.Statistics, Brake: brake, OpenEpisodes: len(open), Parts: s.check(ctx),
	}
	if o, ok := s.Live.Observation(); ok {
		out.ObservedAt, out.Tilt, out.Anomalies = &o.At, &o.Tilt, someOf(anomalies(o))
	}
	var worked []core.DeclaredChange
	for c := range topo.Maintenances(time.Now()) {
		worked = append(worked, *c)
	}
	out.Maintenance = someOf(worked)
	out.SpecialTimes = someOf(stance.Special)
	if s.Watches != nil {
		out.Warming = someOf(s.Watches.Warming())
	}
	if s.Opinions != nil {
		out.Feedback = said(s.Opinions.Precision())
	}
	if s.Control != nil {
		leadership := s.Control.Leadership()
		out.Leadership = &leadership
	}
	return GetStatus200JSONResponse(out), nil
}

// GetConditions answers GET /conditions.
func (s *server) GetConditions(context.Context, GetConditionsRequestObject) (GetConditionsResponseObject, error) {
	o, ok := s.Live.Observation()
	if !ok {
		return nil, &core.Error{
			Code: core.CodeUnavailable, Message: "nothing has been judged yet", Hint: "try again in a few seconds",
		}
	}
	o.Assessments, o.Traffic, o.Writers = list(o.Assessments), list(o.Traffic), list(o.Writers)
	o.Replicas = whole(o.Replicas, wholeView)
	return GetConditions200JSONResponse(o), nil
}

// ListSites answers GET /sites.
func (s *server) ListSites(ctx context.Context, _ ListSitesRequestObject) (ListSitesResponseObject, error) {
	routing, err := s.Records.Routing(ctx)
	if err != nil {
		return nil, err
	}
	topo := s.Live.Topology()
	o, _ := s.Live.Observation()
	out := ListSites200JSONResponse{}
	for _, site := range topo.Sites {
		x := Site{
			Name: site.Name, Kind: SiteKindSite, TimeZone: some(site.TimeZone), Region: some(site.Region),
			Pattern: some(site.Pattern), Services: services(topo, site, o, routing),
		}
		if len(site.Capacity) > 0 {
			capacity := maps.Clone(site.Capacity)
			x.Capacity = &capacity
		}
		heard(&x, o)
		out = append(out, x)
	}
	for _, name := range topo.Witnesses {
		x := Site{Name: name, Kind: SiteKindWitness, Services: []SiteService{}}
		heard(&x, o)
		out = append(out, x)
	}
	return out, nil
}

func heard(x *Site, o core.Observation) {
	for _, w := range o.Writers {
		if w.Name == x.Name && w.Kind == string(x.Kind) {
			x.Fresh = &w.Fresh
			x.LastAt = some(w.LastAt)
		}
	}
}

func services(topo core.Topology, site core.Site, o core.Observation, routing []core.Routing) []SiteService {
	out := []SiteService{}
	for _, service := range topo.Services {
		entry, entered := service.Entries[site.Name]
		_, sized := site.Capacity[service.Name]
		if !entered && !sized {
			continue
		}
		x := SiteService{Name: service.Name, Entry: some(entry), Routing: core.RoutingActive, Weight: 100}
		// What is said of the service itself comes before what is said of the whole site.
		if a, ok := about(site.Name, service.Name, o.Assessments, func(a core.Assessment) core.Subject { return a.Subject }); ok {
			x.Condition, x.Kind, x.Sentence = a.Condition, some(a.Kind), some(a.Sentence)
		}
		if r, ok := about(site.Name, service.Name, routing, func(r core.Routing) core.Subject { return r.Subject }); ok {
			x.Routing, x.Weight = r.State, r.Weight
		}
		for _, t := range o.Traffic {
			if t.Site == site.Name && t.Service == service.Name {
				x.Traffic = &t
			}
		}
		out = append(out, x)
	}
	return out
}

// about finds what is said of a service at a site, or else of the whole site.
func about[T any](site, service string, all []T, subject func(T) core.Subject) (out T, ok bool) {
	for _, v := range all {
		switch s := subject(v); {
		case s.Site != site || s.Unit != "":
		case s.Service == service:
			return v, true
		case s.WholeSite():
			out, ok = v, true
		}
	}
	return out, ok
}

const readyWithin = 2 * time.Second

// check asks every part, all at the same time: one that is slow to answer takes no time from the others.
func (s *server) check(ctx context.Context) []Part {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	out := make([]Part, len(s.Parts))
	var all sync.WaitGroup
	for i, p := range s.Parts {
		all.Go(func() {
			out[i] = Part{Name: p.Name, Ok: true, Word: "ok"}
			if err := p.Ready(ctx); err != nil {
				out[i].Ok, out[i].Word = false, strings.ReplaceAll(err.Error(), "\n", "; ")
			}
		})
	}
	all.Wait()
	return out
}

func healthz(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

// readyz is 200 when every part works that reads need; without one that only orders need it says so, and one that only
// warns is named. With ?verbose
// every part has a line, else only those that fail.
func (s *server) readyz(c *gin.Context) {
	code, last, text := http.StatusOK, "ready\n", strings.Builder{}
	_, verbose := c.GetQuery("verbose")
	for i, p := range s.check(c) {
		if !p.Ok || verbose {
			text.WriteString(p.Name + ": " + p.Word + "\n")
		}
		switch {
		case p.Ok, s.Parts[i].Warns:
		case !s.Parts[i].ForOrders:
			code, last = http.StatusServiceUnavailable, "not ready\n"
		case code == http.StatusOK:
			last = "ready for reading only\n"
		}
	}
	c.String(code, "%s", text.String()+last)
}
