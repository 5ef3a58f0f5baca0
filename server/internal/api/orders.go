package api

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	defaultHold = 15 * time.Minute
	maxHold     = 24 * time.Hour
	maxReason   = 500
)

// PostCommand answers POST /commands.
func (s *server) PostCommand(ctx context.Context, r PostCommandRequestObject) (PostCommandResponseObject, error) {
	cmd, err := toCommand(*r.Body, operator(ctx), time.Now())
	if err != nil {
		return nil, err
	}
	reply, err := s.Commander.Command(ctx, cmd)
	if err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "order judged", slog.String("kind", string(cmd.Kind)),
		slog.String("by", cmd.By), slog.Bool("ok", reply.OK), slog.String("code", reply.Code))
	return PostCommand200JSONResponse(reply), nil
}

// toCommand checks that an order names what its kind needs.
func toCommand(r CommandRequest, by string, now time.Time) (core.Command, error) {
	c := core.Command{Kind: r.Kind, By: by, Reason: r.Reason}
	if err := checkReason(r.Reason); err != nil {
		return c, err
	}
	if unprintable(textsOf(r)...) {
		return c, errUnprintable()
	}
	switch r.Kind {
	case core.CommandApprove, core.CommandVeto:
		if r.DecisionID == nil || *r.DecisionID == "" {
			return c, invalid("decision_id is missing", "name the decision")
		}
		c.DecisionID = *r.DecisionID
	case core.CommandHold:
		if r.EpisodeID == nil || *r.EpisodeID == "" {
			return c, invalid("episode_id is missing", "name the episode")
		}
		c.EpisodeID, c.Hold = *r.EpisodeID, defaultHold
		if r.HoldS != nil {
			c.Hold = core.Seconds(*r.HoldS).Duration()
		}
		if c.Hold < time.Second || c.Hold > maxHold {
			return c, invalid("hold_s is out of range", "give 1 to 86400 seconds")
		}
	case core.CommandDrain, core.CommandRestore:
		if r.Subject == nil || r.Subject.Site == "" {
			return c, invalid("subject.site is missing", "name the site, and the service or all")
		}
		c.Subject = *r.Subject
		if c.Subject.Service == "" {
			c.Subject.Service = core.AllServices
		}
	case core.CommandBrake:
		if r.On == nil {
			return c, invalid("on is missing", "say true to stop automatic actions, false to release them")
		}
		c.On = *r.On
	case core.CommandReconcile:
		if r.BreakGlass == nil {
			return c, invalid("break_glass is missing", "give the record that the break-glass command left in its data directory")
		}
		c.BreakGlass = r.BreakGlass
		return c, checkBreakGlass(*r.BreakGlass, now)
	default:
		return c, invalid("there is no order of that kind", "use approve, veto, hold, drain, restore, brake or reconcile")
	}
	return c, nil
}

func checkReason(reason string) error {
	if reason == "" || len(reason) > maxReason {
		return invalid("an order needs a reason of at most 500 bytes", "say why; it goes on the record")
	}
	return nil
}

// textsOf are the texts of an order that are its own.
func textsOf(r CommandRequest) []string {
	texts := []string{r.Reason}
	for _, id := range []*string{r.DecisionID, r.EpisodeID} {
		if id != nil {
			texts = append(texts, *id)
		}
	}
	if r.Subject != nil {
		texts = append(texts, r.Subject.Site, r.Subject.Service)
	}
	return texts
}

// unprintable reports whether a text would move the cursor, or turn the direction, of who reads the record.
func unprintable(texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool {
		return strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) })
	})
}

func errUnprintable() error {
	return invalid("an order holds a control character", "write plain text on one line; it is shown on terminals")
}

// ListTokens answers GET /tokens.
func (s *server) ListTokens(ctx context.Context, _ ListTokensRequestObject) (ListTokensResponseObject, error) {
	tokens, err := s.Tokens.ListTokens(ctx)
	return ListTokens200JSONResponse(list(tokens)), err
}

// CreateToken answers POST /tokens.
func (s *server) CreateToken(ctx context.Context, r CreateTokenRequestObject) (CreateTokenResponseObject, error) {
	if r.Body.Kind == kindSite {
		if err := checkPlace(r.Body.Name, s.Live.Topology()); err != nil {
			return nil, err
		}
	}
	cred, secret, err := s.Tokens.CreateToken(ctx, string(r.Body.Kind), r.Body.Name, r.Body.ExpiresAt)
	if err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "token made", slog.String("id", cred.ID),
		slog.String("kind", cred.Kind), slog.String("name", cred.Name), slog.String("by", operator(ctx)))
	return CreateToken201JSONResponse{Credential: cred, Token: secret.Reveal()}, nil
}

// RevokeToken answers DELETE /tokens/{id}.
func (s *server) RevokeToken(ctx context.Context, r RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	if err := s.Tokens.RevokeToken(ctx, r.ID); err != nil {
		return nil, err
	}
	s.Log.LogAttrs(ctx, slog.LevelInfo, "token revoked", slog.String("id", r.ID), slog.String("by", operator(ctx)))
	return RevokeToken204Response{}, nil
}
