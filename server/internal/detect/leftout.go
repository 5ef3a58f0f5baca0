package detect

import (
	"log/slog"
	"time"
)

// leftOutAgain is how long what is left out of a watch is not told again.
const leftOutAgain = 24 * time.Hour

// leftOut is how many series of the last answer are of no use, one of them, and when that was told.
type leftOut struct {
	series int
	labels map[string]string
	told   time.Time
}

func (l *leftOut) add(labels map[string]string) {
	if l.series == 0 {
		l.labels = labels
	}
	l.series++
}

// tell begins the next answer, and reports whether this one is to be told.
func (l *leftOut) tell(at time.Time) (what slog.Attr, news bool) {
	what = slog.Group("left_out", slog.Int("series", l.series), slog.Any("one", l.labels))
	news = l.series > 0 && (l.told.IsZero() || at.Sub(l.told) >= leftOutAgain)
	if news {
		l.told = at
	}
	l.series, l.labels = 0, nil
	return what, news
}

// tellLeftOut logs what was left out of an answer, for who waits for a word of it.
func (w *watcher) tellLeftOut(at time.Time) {
	if what, news := w.aboutNothing.tell(at); news {
		label := string(w.watch.About)
		if w.watch.About == AboutLinkFrom || w.watch.About == AboutLinkTo {
			label = "link"
		}
		w.log.Warn("series that name no site are no evidence", what, slog.String("about", string(w.watch.About)),
			slog.String("hint", "keep the label "+label+" in the query, as in sum by ("+label+") (...), or name with about the label that holds the site"))
	}
	if what, news := w.tooMany.tell(at); news {
		w.log.Warn("series beyond max_series are not judged", what, slog.Int("max_series", w.watch.maxSeries()),
			slog.String("hint", "raise max_series of the watch, or ask for fewer series"))
	}
}
