package app

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// linksWithin is how old the word about a link may be to be shown: three looks at the longest usual interval.
	linksWithin = "30s"
	// linksSettle is how long the figures of a look, which come by the disk queue, may be later than its state.
	linksSettle = time.Second
	// linkTime marks the value that is the time of another one.
	linkTime = "part"
)

// linksQuery asks for the newest of all figures of links, and when each was true.
func linksQuery() string {
	const figures = `{__name__=~"evenkeel_link_state|evenkeel_replication_(lag_(lower_seconds|upper_seconds|bytes|transactions|messages)` +
		`|exposure_seconds|link_age_seconds|last_caught_up_timestamp_seconds)"}[` + linksWithin + `]`
	return `union(last_over_time(` + figures + `), label_set(tlast_over_time(` + figures + `) keep_metric_names, "` + linkTime + `", "time"))`
}

// Links are the ends of replication links that agents looked at just now, sorted by link, channel, end and writer.
func (s *Server) Links(ctx context.Context) ([]core.LinkView, error) {
	values, err := s.store.Query(ctx, linksQuery(), time.Now().Add(-linksSettle), 0)
	if err != nil {
		return nil, err
	}
	return linksOf(values), nil
}

// linkEnd is one end of a link, and who looked at it.
type linkEnd struct{ link, channel, end, writer string }

// linkFigures are the figures of one end by name and host: two agents of a site may look at the same one.
type linkFigures map[string]map[string]*linkFigure

type linkFigure struct {
	value float64
	at    float64 // unix seconds
}

func (f linkFigures) figure(name, host string) *linkFigure {
	if f[name] == nil {
		f[name] = map[string]*linkFigure{}
	}
	if f[name][host] == nil {
		f[name][host] = &linkFigure{}
	}
	return f[name][host]
}

func linksOf(values []core.SeriesValue) []core.LinkView {
	ends := map[linkEnd]linkFigures{}
	for _, v := range values {
		l := v.Labels
		k := linkEnd{l["link"], l["channel"], l["end"], l["site"]}
		if ends[k] == nil {
			ends[k] = linkFigures{}
		}
		x := ends[k].figure(strings.TrimPrefix(l["__name__"], "evenkeel_"), l["host_name"])
		if l[linkTime] != "" {
			x.at = v.Value
		} else {
			x.value = v.Value
		}
	}
	out := []core.LinkView{}
	for k, f := range ends {
		var state *linkFigure
		for _, x := range f["link_state"] {
			if state == nil || x.at > state.at {
				state = x
			}
		}
		if state == nil || state.value < 0 || state.value > float64(core.LinkNoPrimary) {
			continue
		}
		store, from, to, _ := core.SplitLinkName(k.link)
		view := core.LinkView{
			Link: k.link, Store: store, From: from, To: to, Channel: k.channel, End: k.end, Writer: k.writer, State: core.LinkState(state.value),
			At: unixTime(state.at),

			LagLower: f.of("lag_lower_seconds", state.at), LagUpper: f.of("lag_upper_seconds", state.at), Exposure: f.of("exposure_seconds", state.at),
			Bytes: f.of("lag_bytes", state.at), Transactions: f.of("lag_transactions", state.at), Messages: f.of("lag_messages", state.at),
			LinkAge: f.of("link_age_seconds", state.at),
		}
		if at := f.of("last_caught_up_timestamp_seconds", state.at); at != nil {
			caughtUp := unixTime(*at)
			view.CaughtUp = &caughtUp
		}
		out = append(out, view)
	}
	slices.SortFunc(out, func(a, b core.LinkView) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.End, b.End), cmp.Compare(a.Writer, b.Writer))
	})
	return out
}

// of is a figure of the look at a time; nil when that look had none. One of an earlier look is none: an upper bound, say,
// that a link which is down does not have any more.
func (f linkFigures) of(name string, at float64) *float64 {
	for _, x := range f["replication_"+name] {
		if x.at == at {
			return &x.value
		}
	}
	return nil
}

func unixTime(seconds float64) time.Time {
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
}
