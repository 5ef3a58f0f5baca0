package app

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// ownSigns are what the watches say of the servers. They are no site, of which alone health knows: the log says when something
// begins and when it is over, and all else goes on.
type ownSigns struct {
	log  *slog.Logger
	next func([]core.Signal)
	on   map[string]bool // by watch and labels: it is anomalous
}

func newOwnSigns(log *slog.Logger, next func([]core.Signal)) *ownSigns {
	return &ownSigns{log: log, next: next, on: map[string]bool{}}
}

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
		switch {
		case s.State == core.DetectorAnomalous && !o.on[key]:
			o.on[key] = true
			o.log.Warn("the server is not well", slog.String("watch", s.Detector), slog.String("what", s.Sentence), slog.Any("labels", s.Labels))
		case s.State == core.DetectorNormal && o.on[key]:
			delete(o.on, key)
			o.log.Info("the server is well again", slog.String("watch", s.Detector), slog.String("what", s.Sentence), slog.Any("labels", s.Labels))
		}
	}
	if len(others) > 0 {
		o.next(others)
	}
}
