package app

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// ownSigns are what the watches say of the servers. They are no site, of which alone health knows: the log says when something
// begins and when it is over, and all else goes on.
type ownSigns struct {
	log  *slog.Logger
	next func([]core.Signal)
	on   map[string]time.Time // by watch and labels, of what is anomalous: when nobody will speak of it any more
}

func newOwnSigns(log *slog.Logger, next func([]core.Signal)) *ownSigns {
	return &ownSigns{log: log, next: next, on: map[string]time.Time{}}
}

// ownSilent is for how many intervals a sign may be passed over before it counts as one of a series that is gone, of which the last word
// was that it is not known.
const ownSilent = 3

// take is called by one goroutine at a time.
func (o *ownSigns) take(signals []core.Signal) {
	own := func(s core.Signal) bool { return s.Subject.Site == selfSite }
	if !slices.ContainsFunc(signals, own) {
		o.next(signals)
		return
	}
	var others []core.Signal
	for _, s := range signals {
		if !own(s) {
			others = append(others, s)
			continue
		}
		key := s.Detector + " " + fmt.Sprint(s.Labels)
		maps.DeleteFunc(o.on, func(of string, until time.Time) bool { return of != key && s.At.After(until) })
		_, on := o.on[key]
		switch {
		case s.State == core.DetectorNormal && on:
			delete(o.on, key)
			o.log.Info("the server is well again", slog.String("watch", s.Detector), slog.String("what", s.Sentence), slog.Any("labels", s.Labels))
		case on || s.State == core.DetectorAnomalous:
			o.on[key] = s.At.Add(ownSilent * s.Interval)
			if !on {
				o.log.Warn("the server is not well", slog.String("watch", s.Detector), slog.String("what", s.Sentence), slog.Any("labels", s.Labels))
			}
		}
	}
	if len(others) > 0 {
		o.next(others)
	}
}
