package app

import (
	"context"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// pagerDuty says a notice in PagerDuty's words.
type pagerDuty struct {
	client  *pagerduty.Client
	baseURL string // where people reach this server; empty: no link
}

var _ act.Pager = pagerDuty{}

// Page makes one attempt; what went wrong is one of the errors of remediations.
func (p pagerDuty) Page(ctx context.Context, n core.Notice) (act.Paged, error) {
	event := pagerduty.Event{
		Action: action(n.Kind), DedupKey: n.DedupKey, Summary: n.Summary, Source: n.Source, Severity: n.Severity,
		Timestamp: n.At, Class: "site", Client: "Evenkeel", ClientURL: p.baseURL,
	}
	for _, d := range n.Details {
		event.Details = append(event.Details, pagerduty.Detail{Name: d.Name, Value: d.Value})
	}
	if p.baseURL != "" {
		event.Links = []pagerduty.Link{{Href: p.baseURL + "/#" + n.EpisodeID, Text: "the episode in Evenkeel"}}
	}
	result, err := p.client.Send(ctx, event)
	return act.Paged{Status: result.Status, Detail: result.Message, Cancelled: result.State == pagerduty.Cancelled || result.State == pagerduty.Replaced}, err
}

func action(kind string) pagerduty.Action {
	switch kind {
	case "trigger":
		return pagerduty.Trigger
	case "update":
		return pagerduty.Update
	case "resolve":
		return pagerduty.Resolve
	}
	return pagerduty.ActionUnknown
}
