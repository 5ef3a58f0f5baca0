package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Changes keeps what people and pipelines say they change. Errors are *core.Error.
type Changes interface {
	// Declare keeps a checked change; fresh is false when it was kept already.
	Declare(ctx context.Context, c core.DeclaredChange) (kept core.DeclaredChange, fresh bool, err error)
	// EndChange ends one that is kept; one that is over stays as it is.
	EndChange(ctx context.Context, site, id, by string, at time.Time) (core.DeclaredChange, error)
	Changes(ctx context.Context, limit int) ([]core.DeclaredChange, error) // newest start first; 0: all
}

const (
	kindSite        = "site"
	routeChanges    = base + "/changes"
	routeChangesEnd = routeChanges + "/end"
)

// declares says whether a request declares a change: agents do, and each such request carries a token.
func declares(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == routeChanges }

// ListChanges answers GET /changes.
func (s *server) ListChanges(ctx context.Context, r ListChangesRequestObject) (ListChangesResponseObject, error) {
	if s.Changes == nil {
		return ListChanges200JSONResponse{}, nil
	}
	limit := defaultLimit
	if r.Params.Limit != nil {
		limit = *r.Params.Limit
	}
	if limit < 1 || limit > maxLimit {
		return nil, invalid("limit is out of range", "give 1 to 1000")
	}
	all, err := s.Changes.Changes(ctx, 0)
	if err != nil {
		return nil, err
	}
	if r.Params.Active != nil && *r.Params.Active {
		now := time.Now()
		all = slices.DeleteFunc(all, func(c core.DeclaredChange) bool { return !c.At(now) })
	}
	return ListChanges200JSONResponse(all[:min(len(all), limit)]), nil
}

// DeclareChange answers POST /changes.
func (s *server) DeclareChange(ctx context.Context, r DeclareChangeRequestObject) (DeclareChangeResponseObject, error) {
	if s.Changes == nil {
		return nil, &core.Error{Code: core.CodeUnavailable, Message: "this server keeps no changes"}
	}
	c, err := toChange(*r.Body, by(ctx).Credential, time.Now())
	if err != nil {
		return nil, err
	}
	if err := inTopology(c, s.Live.Topology()); err != nil {
		return nil, err
	}
	kept, fresh, err := s.Changes.Declare(ctx, c)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return DeclareChange200JSONResponse(kept), nil
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "change declared", slog.String("id", kept.ID), slog.String("site", kept.Site),
		slog.String("service", kept.Service), slog.String("what", kept.What), slog.String("by", kept.By),
		slog.Bool("maintenance", kept.Maintenance), slog.Bool("incident", kept.Incident))
	return DeclareChange201JSONResponse(kept), nil
}

// EndChange answers POST /changes/end.
func (s *server) EndChange(ctx context.Context, r EndChangeRequestObject) (EndChangeResponseObject, error) {
	if s.Changes == nil {
		return nil, &core.Error{Code: core.CodeUnavailable, Message: "this server keeps no changes"}
	}
	if unprintable(r.Body.Site, r.Body.ID) {
		return nil, errUnprintable()
	}
	kept, err := s.Changes.EndChange(ctx, r.Body.Site, r.Body.ID, saidBy(by(ctx).Credential), time.Now().UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "change ended", slog.String("id", kept.ID), slog.String("site", kept.Site),
		slog.Time("until", kept.Until()), slog.String("by", kept.EndedBy))
	return EndChange200JSONResponse(kept), nil
}

// saidBy names the owner of a token.
func saidBy(who core.Credential) string { return who.Kind + " " + who.Name }

// toChange makes the change that a request declares; who is the owner of its token. Times are of whole milliseconds.
func toChange(r ChangeRequest, who core.Credential, now time.Time) (core.DeclaredChange, error) {
	now = now.UTC().Truncate(time.Millisecond)
	c := core.DeclaredChange{
		ID: deref(r.ID), Site: deref(r.Site), Service: deref(r.Service), What: r.What, Source: deref(r.Source),
		Start: now, By: saidBy(who), DeclaredAt: now, Maintenance: deref(r.Maintenance),
		Incident: deref(r.Incident),
	}
	if unprintable(c.ID, c.Site, c.Service, c.What, c.Source) {
		return c, errUnprintable()
	}
	switch {
	case who.Kind == kindSite && c.Site == "":
		c.Site = who.Name
	case who.Kind == kindSite && c.Site != who.Name:
		return c, &core.Error{
			Code: core.CodeForbidden, Message: "the token of " + who.Name + " may declare changes of " + who.Name + " only",
			Hint: "leave site out, or use an admin token",
		}
	case who.Kind == kindSite && c.Maintenance:
		return c, &core.Error{
			Code: core.CodeForbidden, Message: "a site may not keep itself from being drained", Hint: "declare a maintenance with an admin token",
		}
	case who.Kind == kindSite && c.Incident:
		return c, &core.Error{
			Code: core.CodeForbidden, Message: "a site may not say what detectors do not learn", Hint: "mark an incident with an admin token",
		}
	case c.Site == "":
		return c, invalid("site is missing", "name the site")
	}
	if c.Service == "" {
		c.Service = core.AllServices
	}
	if r.Start != nil {
		c.Start = r.Start.UTC().Truncate(time.Millisecond)
	}
	switch {
	case (r.End == nil) == (r.TTLS == nil):
		return c, invalid("give either end or ttl_s", "as in ttl_s: 1800")
	case r.End != nil:
		c.End = r.End.UTC().Truncate(time.Millisecond)
	default:
		c.End = c.Start.Add(time.Duration(min(*r.TTLS, 2*core.MaintenanceLongest.Seconds()) * float64(time.Second))).Truncate(time.Millisecond)
	}
	if c.ID == "" {
		c.ID = core.ChangeID(c)
	}
	return c, c.Check(now)
}

// inTopology reports a site or a service that is not configured: a misspelt one would explain nothing.
func inTopology(c core.DeclaredChange, t core.Topology) error {
	if err := checkPlace(c.Site, t); err != nil {
		return err
	}
	if _, ok := t.Service(c.Service); !ok && c.Service != core.AllServices {
		names := make([]string, 0, len(t.Services)+1)
		for _, s := range t.Services {
			names = append(names, s.Name)
		}
		return invalid("there is no service "+strconv.Quote(c.Service), "name one of: "+strings.Join(append(names, core.AllServices), ", "))
	}
	return nil
}

// checkPlace reports a site or witness that is not configured.
func checkPlace(name string, t core.Topology) error {
	known := t.Vantages()
	switch {
	case slices.Contains(known, name):
		return nil
	case len(known) == 0:
		return invalid("there is no site "+strconv.Quote(name)+": none is configured", "add it to the configuration and restart the server first")
	}
	return invalid("there is no site "+strconv.Quote(name), "name one of: "+strings.Join(known, ", ")+
		"; a new one is added to the configuration first, and takes a restart of the server")
}

// deref is the zero value for what is absent.
func deref[T any](v *T) (out T) {
	if v != nil {
		out = *v
	}
	return out
}
