package detect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// question is one query of a watch.
type question struct {
	name string // which value of a row it gives; empty where it is the only one
	expr string
}

// The questions of burn-rate by counts.
const (
	questionBad   = "bad"
	questionTotal = "total"
)

// questions are what the watch asks, in the order of their names.
func (w Watch) questions() []question {
	switch {
	case w.model() == ModelService:
		out := make([]question, 0, len(w.Metrics))
		for _, name := range slices.Sorted(maps.Keys(w.Metrics)) {
			out = append(out, question{name, w.Metrics[name]})
		}
		return out
	case w.Bad != "":
		return []question{{questionBad, w.Bad}, {questionTotal, w.Total}}
	}
	return []question{{"", w.Query}}
}

// answer is that to one question, now or over a time.
type answer[T core.SeriesValue | core.SeriesRange] struct {
	name   string
	series []T
}

// ask has the answers to all questions at a time. Some of them are none.
func (w *watcher) ask(ctx context.Context, at time.Time, interval time.Duration) ([]answer[core.SeriesValue], error) {
	return each(w.watch, func(expr string) ([]core.SeriesValue, error) { return w.querier.Query(ctx, expr, at, interval) })
}

// askRange is ask over the past.
func (w *watcher) askRange(ctx context.Context, from, to time.Time, step time.Duration) ([]answer[core.SeriesRange], error) {
	return each(w.watch, func(expr string) ([]core.SeriesRange, error) { return w.querier.QueryRange(ctx, expr, from, to, step) })
}

func each[T core.SeriesValue | core.SeriesRange](w Watch, ask func(expr string) ([]T, error)) ([]answer[T], error) {
	var out []answer[T]
	for _, q := range w.questions() {
		series, err := ask(q.expr)
		if err != nil && q.name != "" {
			err = fmt.Errorf("%s: %w", q.name, err)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, answer[T]{q.name, series})
	}
	return out, nil
}
