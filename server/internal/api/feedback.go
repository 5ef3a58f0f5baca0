package api

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Opinions keep what people say of alarms and episodes. Errors are *core.Error.
type Opinions interface {
	// Say keeps a checked word; fresh is false when it is the person's last word already.
	Say(ctx context.Context, f core.Feedback) (kept core.Feedback, fresh bool, err error)
	Feedback(ctx context.Context) ([]core.Feedback, error) // every word, newest first
	// Watches are the names of those that are configured.
	Watches() []string
	// Raised says whether a watch raised an alarm then, whichever of its series it was.
	Raised(ctx context.Context, watch string, onset time.Time) (bool, error)
	// Alarms are those of late, the newest first, and Precision how often they were right. Neither may block.
	Alarms() []core.Alarm
	Precision() []core.Precision
}

const routeFeedback = base + "/feedback"

// said are those that somebody spoke of, nil while that is none.
func said(all []core.Precision) *[]core.Precision {
	return someOf(slices.DeleteFunc(slices.Clone(all), func(p core.Precision) bool { return p.Labels == 0 }))
}

// ListAlarms answers GET /alarms.
func (s *server) ListAlarms(_ context.Context, r ListAlarmsRequestObject) (ListAlarmsResponseObject, error) {
	n, err := limit(r.Params.Limit)
	if err != nil || s.Opinions == nil {
		return ListAlarms200JSONResponse{}, err
	}
	all := list(s.Opinions.Alarms())
	return ListAlarms200JSONResponse(all[:min(len(all), n)]), nil
}

// ListFeedback answers GET /feedback.
func (s *server) ListFeedback(ctx context.Context, r ListFeedbackRequestObject) (ListFeedbackResponseObject, error) {
	n, err := limit(r.Params.Limit)
	if err != nil || s.Opinions == nil {
		return ListFeedback200JSONResponse{}, err
	}
	all, err := s.Opinions.Feedback(ctx)
	if err != nil {
		return nil, err
	}
	if !deref(r.Params.History) {
		all = core.LastWords(all)
	}
	if about := r.Params.About; about != nil {
		all = slices.DeleteFunc(all, func(f core.Feedback) bool { return f.About != *about })
	}
	return ListFeedback200JSONResponse(all[:min(len(all), n)]), nil
}

// GiveFeedback answers POST /feedback.
func (s *server) GiveFeedback(ctx context.Context, r GiveFeedbackRequestObject) (GiveFeedbackResponseObject, error) {
	if s.Opinions == nil {
		return nil, &core.Error{Code: core.CodeUnavailable, Message: "this server keeps no feedback"}
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	f := core.Feedback{
		EpisodeID: deref(r.Body.EpisodeID), Watch: deref(r.Body.Watch), Series: deref(r.Body.Series), Label: r.Body.Label,
		Note: strings.TrimSpace(deref(r.Body.Note)), By: saidBy(by(ctx).Credential), At: now,
	}
	if r.Body.Onset != nil {
		f.Onset = r.Body.Onset.UTC().Truncate(time.Millisecond)
	}
	if unprintable(f.EpisodeID, f.Watch, f.Series, f.Note) {
		return nil, errUnprintable()
	}
	if err := f.Check(now); err != nil {
		return nil, err
	}
	if err := s.isThere(ctx, &f); err != nil {
		return nil, err
	}
	kept, fresh, err := s.Opinions.Say(ctx, f)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return GiveFeedback200JSONResponse(kept), nil
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "feedback given", slog.String("about", kept.About), slog.String("watch", kept.Watch),
		slog.String("label", string(kept.Label)), slog.String("by", kept.By), slog.Int("n", kept.N))
	return GiveFeedback201JSONResponse(kept), nil
}

// isThere fills in what a word is about, and reports what there never was.
func (s *server) isThere(ctx context.Context, f *core.Feedback) error {
	if f.EpisodeID != "" {
		f.About = f.EpisodeID
		_, err := s.Records.Episode(ctx, f.EpisodeID)
		return err
	}
	if watches := s.Opinions.Watches(); !slices.Contains(watches, f.Watch) {
		hint := "none is configured"
		if len(watches) > 0 {
			hint = "name one of: " + strings.Join(watches, ", ")
		}
		return &core.Error{Code: core.CodeNotFound, Message: "there is no watch " + strconv.Quote(f.Watch), Hint: hint}
	}
	f.About = core.AlarmID(f.Watch, f.Series, f.Onset)
	if slices.ContainsFunc(s.Opinions.Alarms(), func(a core.Alarm) bool { return a.ID == f.About }) {
		return nil
	}
	raised, err := s.Opinions.Raised(ctx, f.Watch, f.Onset)
	if err == nil && !raised {
		err = &core.Error{
			Code: core.CodeNotFound, Message: "the watch " + f.Watch + " raised no alarm at " + f.Onset.Format(time.RFC3339),
			Hint: "take watch, series and onset from GET /alarms, or evenkeel-server feedback alarms",
		}
	}
	return err
}
