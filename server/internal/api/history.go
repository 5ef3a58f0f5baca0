package api

import (
	"context"
	"fmt"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func limit(p *Limit) (int, error) {
	if p == nil {
		return defaultLimit, nil
	}
	if *p < 1 || *p > maxLimit {
		return 0, invalid(fmt.Sprintf("limit is %d", *p), fmt.Sprintf("give 1 to %d", maxLimit))
	}
	return *p, nil
}

// list is never null in JSON.
func list[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

func wholeDecision(d core.Decision) core.Decision {
	d.Rulings = list(d.Rulings)
	if d.Effect != nil {
		e := *d.Effect
		e.After, e.Capacity = amounts(e.After), amounts(e.Capacity)
		d.Effect = &e
	}
	return d
}

func amounts(in map[string]float64) map[string]float64 {
	if in == nil {
		return map[string]float64{}
	}
	return in
}

func wholeAction(a core.Action) core.Action {
	a.Steps = list(a.Steps)
	return a
}

func wholeView(v core.ReplicaView) core.ReplicaView {
	v.Subjects = list(v.Subjects)
	return v
}

func wholeMember(m core.Member) core.Member {
	if m.View != nil {
		v := wholeView(*m.View)
		m.View = &v
	}
	return m
}

func whole[T any](in []T, f func(T) T) []T {
	out := make([]T, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

// ListEpisodes answers GET /episodes.
func (s *server) ListEpisodes(ctx context.Context, r ListEpisodesRequestObject) (ListEpisodesResponseObject, error) {
	n, err := limit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	read := s.Records.Episodes
	if r.Params.Open != nil && *r.Params.Open {
		read = s.Records.OpenEpisodes
	}
	episodes, err := read(ctx, n)
	return ListEpisodes200JSONResponse(list(episodes)), err
}

// GetEpisode answers GET /episodes/{id}.
func (s *server) GetEpisode(ctx context.Context, r GetEpisodeRequestObject) (GetEpisodeResponseObject, error) {
	e, err := s.Records.Episode(ctx, r.ID)
	return GetEpisode200JSONResponse(e), err
}

// ListDecisions answers GET /episodes/{id}/decisions.
func (s *server) ListDecisions(ctx context.Context, r ListDecisionsRequestObject) (ListDecisionsResponseObject, error) {
	if _, err := s.Records.Episode(ctx, r.ID); err != nil {
		return nil, err
	}
	decisions, err := s.Records.Decisions(ctx, r.ID)
	return ListDecisions200JSONResponse(whole(decisions, wholeDecision)), err
}

// ListNotices answers GET /episodes/{id}/notices.
func (s *server) ListNotices(ctx context.Context, r ListNoticesRequestObject) (ListNoticesResponseObject, error) {
	if _, err := s.Records.Episode(ctx, r.ID); err != nil {
		return nil, err
	}
	notices, err := s.Records.Notices(ctx, r.ID)
	return ListNotices200JSONResponse(list(notices)), err
}

// GetDecision answers GET /decisions/{id}.
func (s *server) GetDecision(ctx context.Context, r GetDecisionRequestObject) (GetDecisionResponseObject, error) {
	d, err := s.Records.Decision(ctx, r.ID)
	return GetDecision200JSONResponse(wholeDecision(d)), err
}

// ListActions answers GET /actions.
func (s *server) ListActions(ctx context.Context, r ListActionsRequestObject) (ListActionsResponseObject, error) {
	n, err := limit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	actions, err := s.Records.Actions(ctx, n)
	return ListActions200JSONResponse(whole(actions, wholeAction)), err
}

// GetAction answers GET /actions/{id}.
func (s *server) GetAction(ctx context.Context, r GetActionRequestObject) (GetActionResponseObject, error) {
	a, err := s.Records.Action(ctx, r.ID)
	return GetAction200JSONResponse(wholeAction(a)), err
}

// ListLines answers GET /timeline.
func (s *server) ListLines(ctx context.Context, r ListLinesRequestObject) (ListLinesResponseObject, error) {
	n, err := limit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	var lines []core.Line
	switch after := r.Params.After; {
	case after == nil:
		lines, err = s.Records.LastLines(ctx, n)
	case *after < 0:
		return nil, invalid("after is negative", "give the seq of the last line you have")
	default:
		lines, err = s.Records.Lines(ctx, *after, n)
	}
	return ListLines200JSONResponse(list(lines)), err
}
