package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metricsql"
)

// queries checks what a watch asks. That a question is missing, or stands where its model has none, is for detect to say.
func (v *validator) queries(w Watch) {
	ask := func(key, query string) {
		if problem := unaskable(query); problem != "" {
			v.bad(w.path+"."+key, "%s", problem)
		}
	}
	ask("query", w.Query)
	ask("bad", w.Bad)
	ask("total", w.Total)
	for _, name := range slices.Sorted(maps.Keys(w.Metrics)) {
		ask("metrics."+name, w.Metrics[name])
	}
}

// unaskable says why a query can have no series for an answer; empty where it can, or where there is none.
func unaskable(query string) string {
	if strings.TrimSpace(query) == "" {
		return ""
	}
	e, err := metricsql.Parse(query)
	if err != nil {
		text := []rune(strings.TrimSuffix(err.Error(), `; unparsed data: ""`))
		return "it is no MetricsQL: " + string(text[:min(len(text), 200)]) + "; want an expression such as sum by (target_site) (rate(NAME[1m]))"
	}
	series := false
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		series = series || ok && !m.IsEmpty()
	})
	if !series {
		return "it asks for no series; want the name of a metric in it, as in sum by (target_site) (rate(NAME[1m]))"
	}
	return ""
}
