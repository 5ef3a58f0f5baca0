package act

import (
	"context"
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// PagerDuty is a Pager that tells PagerDuty. BaseURL is where people reach this server; empty: no link.
type PagerDuty struct {
	Client  *pagerduty.Client
	BaseURL string
}

var _ Pager = PagerDuty{}

// Page sends one event.
func (p PagerDuty) Page(ctx context.Context, n core.Notice) (Paged, error) {
	e := pagerduty.Event{
		Action: pagerduty.Trigger, DedupKey: n.DedupKey, Summary: n.Summary, Source: n.Source, Severity: n.Severity,
		Timestamp: n.At, Client: "Evenkeel", ClientURL: p.BaseURL,
	}
	switch n.Kind {
	case noticeUpdate:
		e.Action = pagerduty.Update
	case noticeResolve:
		e.Action = pagerduty.Resolve
	}
	for _, d := range n.Details {
		e.Details = append(e.Details, pagerduty.Detail{Name: d.Name, Value: d.Value})
	}
	if p.BaseURL != "" && n.EpisodeID != "" {
		e.Links = []pagerduty.Link{{Href: strings.TrimRight(p.BaseURL, "/") + "/api/v1/episodes/" + n.EpisodeID, Text: "Episode"}}
	}
	r, err := p.Client.Send(ctx, e)
	if err != nil {
		return Paged{Status: r.Status, Detail: r.Message}, fmt.Errorf("page by pagerduty: %w", err)
	}
	return Paged{Status: r.Status, Detail: r.Message, Cancelled: r.State != pagerduty.Accepted}, nil
}
