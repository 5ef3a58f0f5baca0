package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

const threeSites = `
sites: [{name: fra}, {name: ams}, {name: waw}]
services: [{name: shop, entries: {fra: "http://fra/"}, objective: {success: 99.9%}}, {name: other, entries: {fra: "http://fra/"}}]
`

func parsed(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("evenkeel.yaml", []byte(text), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := says(t, compiled(t), fromYAML(t, []byte(text))); err != nil {
		t.Errorf("the schema: %v", err)
	}
	return c
}

func watchNames(c Config) []string {
	var out []string
	for _, w := range c.Watches {
		out = append(out, w.Name)
	}
	return out
}

// final are the names of the contract and their labels.
func final(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("../../../../deploy/contract/names.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|[^|]*\\|[^|]*\\|[^|]*\\| ([^|]*) \\|").FindAllStringSubmatch(string(data), -1) {
		out[m[1]] = append(strings.Split(m[2], ", "), "site")
	}
	if len(out) < 100 {
		t.Fatalf("%d names", len(out))
	}
	return out
}

// questionable says what is wrong with a query: names and labels that nothing writes.
func questionable(query, about string, names map[string][]string) (wrong []string) {
	e, err := metricsql.Parse(query)
	if err != nil {
		return []string{err.Error()}
	}
	about, _, _ = strings.Cut(about, ".")
	metrics := 0
	labels := func(e metricsql.Expr) map[string]bool {
		of := map[string]bool{}
		metricsql.VisitAll(e, func(e metricsql.Expr) {
			if m, ok := e.(*metricsql.MetricExpr); ok {
				for _, filters := range m.LabelFilterss {
					for _, l := range names[filters[0].Value] {
						of[l] = true
					}
				}
			}
		})
		return of
	}
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				metrics++
				name := filters[0].Value
				if filters[0].Label != "__name__" || names[name] == nil {
					wrong = append(wrong, "no such name: "+name)
				}
				if !slices.Contains(names[name], about) {
					wrong = append(wrong, name+" says nothing of "+about)
				}
				for _, f := range filters[1:] {
					if !slices.Contains(names[name], f.Label) {
						wrong = append(wrong, name+" has no label "+f.Label)
					}
				}
			}
		case *metricsql.AggrFuncExpr:
			of := labels(e)
			for _, l := range e.Modifier.Args {
				if !of[l] {
					wrong = append(wrong, "nothing below has the label "+l)
				}
			}
			if !slices.Contains(e.Modifier.Args, about) {
				wrong = append(wrong, "aggregated away: "+about)
			}
		}
	})
	if metrics == 0 {
		wrong = append(wrong, "it asks for nothing")
	}
	return wrong
}

// What is ready-made asks for what is written, by names that the contract has, and every set can be had by one line.
func TestReadyMadeWatchesAskForWhatIsThere(t *testing.T) {
	names := final(t)
	f := func(set string, want ...string) {
		t.Helper()
		c := parsed(t, threeSites+"watches: [{ready: "+set+"}]\n")
		if got := watchNames(c); !slices.Equal(got, want) {
			t.Errorf("%s: %q", set, got)
		}
		for _, w := range c.Watches {
			queries := map[string]string{"query": w.Query, "bad": w.Bad, "total": w.Total}
			maps.Copy(queries, w.Metrics)
			for name, query := range queries {
				if query == "" {
					continue
				}
				for _, wrong := range questionable(query, w.About, names) {
					t.Errorf("%s, %s: %s\n%s", w.Name, name, wrong, query)
				}
			}
			// Who counted stays in the series, so that it is known over which way the evidence came.
			if set == "http" && w.Model != "service" && w.Name != "http-probe-time" {
				for _, query := range []string{w.Query, w.Bad, w.Total} {
					if n := strings.Count(query, "sum by ("); n != strings.Count(query, "sum by (site, ") {
						t.Errorf("%s sums the edge away: %s", w.Name, query)
					}
				}
			}
			if want := map[bool]string{true: "symptom", false: "cause"}[set == "http"]; w.Class != want {
				t.Errorf("%s is a %s", w.Name, w.Class)
			}
		}
	}
	f("hosts", "hosts-cpu", "hosts-memory", "hosts-load", "hosts-network-errors", "hosts-saturation", "hosts-disk", "hosts-inodes", "hosts-gone", "hosts-together")
	f("http", "http-errors", "http-traffic", "http-latency", "http-latency-median", "http-probe-time", "http-together", "http-latency-of-peers", "http-budget-shop")
	f("links", "links-lag", "links-exposure", "links-down", "links-diverged")
	f("store", "store-disk", "store-refuses", "store-query-errors", "store-slow-inserts", "store-query-time", "store-parts", "store-merges")
	f("self", "self-agent-queue", "self-agent-dropped", "self-agent-series", "self-refused", "self-skipped", "self-behind", "self-silent", "self-unanswered", "self-unsaved", "self-webhooks", "self-ledger")

	for query, want := range map[string]string{
		`sum by (site) (no_such_metric)`:                "no such name: no_such_metric",
		`sum by (site) (evenkeel_agent_series{pod=""})`: "has no label pod",
		`sum by (site, pod) (evenkeel_agent_series)`:    "the label pod",
		`sum by (host_name) (evenkeel_agent_series)`:    "aggregated away: site",
		`sum by (site) (`:                               "unparsed",
	} {
		if got := questionable(query, "site", names); len(got) == 0 {
			t.Errorf("%s: nothing is wrong, want %s", query, want)
		}
	}
}

// A set takes how often, how many false alarms and what is left out; more takes a watch of the same name.
func TestReadyMadeWatchesCanBeChanged(t *testing.T) {
	c := parsed(t, threeSites+`watches:
  - {ready: http, every: 1m, train: 2d, false_alarms_per_week: 0.25, except: [http-traffic, http-together]}
  - {name: http-errors, query: mine, class: cause}
`)
	if got := watchNames(c); !slices.Equal(got, []string{"http-latency", "http-latency-median", "http-probe-time", "http-latency-of-peers", "http-budget-shop", "http-errors"}) {
		t.Fatalf("%q", got)
	}
	for _, w := range c.Watches[:5] {
		if w.Every.D().String() != "1m0s" || w.Train.D().Hours() != 48 || (w.FalseAlarmsPerWeek != nil && *w.FalseAlarmsPerWeek == 0.25) != (w.Model == "auto") {
			t.Errorf("%+v", w)
		}
	}
	if w := c.Watches[4]; fmt.Sprintf("%.4f", w.Objective) != "0.9990" || !strings.Contains(w.Total, `{service="shop"}[60000ms]`) {
		t.Errorf("%+v", w)
	}
	if w := c.Watches[5]; w.Query != "mine" || w.Class != "cause" {
		t.Errorf("%+v", w)
	}
	// Two sites are not enough for peers, and without an objective there is no budget.
	few := parsed(t, strings.NewReplacer(", {name: waw}", "", ", objective: {success: 99.9%}", "").Replace(threeSites)+"watches: [{ready: http}]\n")
	if got := watchNames(few); len(got) != 6 {
		t.Errorf("%q", got)
	}
}

// What is shown of a configuration has the sets written out, and is a configuration.
func TestReadyMadeWatchesAreShown(t *testing.T) {
	c := parsed(t, threeSites+"watches: [{ready: hosts}, {ready: http}, {ready: links}, {ready: store}, {ready: self}]\n")
	out, err := c.Render()
	if err != nil {
		t.Fatal(err)
	}
	again := parsed(t, string(out))
	plain := func(c Config) (out []Watch) {
		for _, w := range c.Watches {
			w.path, w.made = "", false
			out = append(out, w)
		}
		return out
	}
	if !reflect.DeepEqual(plain(again), plain(c)) {
		t.Errorf("read back otherwise:\n%s", out)
	}
	for _, want := range []string{"name: hosts-disk", "limit: 0.95", "limit: 0\n", "name: http-budget-shop"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if strings.Contains(string(out), "ready:") || strings.Contains(string(out), "patience: 0") {
		t.Errorf("shown:\n%s", out)
	}
}

// What is shown of a watch has all that its model takes, and nothing else.
func TestDefaultsOfModelsAreShown(t *testing.T) {
	f := func(watch string, want ...string) {
		t.Helper()
		c := parsed(t, threeSites+"watches: [{name: w, "+watch+"}]\n")
		text, err := c.Render()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		shown := fromYAML(t, text).(map[string]any)["watches"].([]any)[0].(map[string]any)
		for _, key := range []string{"false_alarms_per_week", "threshold", "train", "horizon", "window", "objective", "patience", "max_series"} {
			if v, ok := shown[key]; ok {
				got = append(got, fmt.Sprint(key, "=", v))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", watch, got)
		}
	}
	f("query: up", "false_alarms_per_week=1", "train=7d", "max_series=1000")
	f("query: up, false_alarms_per_week: 0.5, max_series: 10, train: 1h", "false_alarms_per_week=0.5", "train=1h0m0s", "max_series=10")
	f("model: service, metrics: {a: up, b: down}", "false_alarms_per_week=1", "train=7d", "max_series=1000")
	f("query: up, every: 10s, model: robust-z", "threshold=5", "train=2h0m0s", "max_series=1000")
	f("query: up, model: seasonal", "threshold=6", "train=28d", "max_series=1000")
	f("query: up, model: local-fit", "threshold=8", "train=2h0m0s", "max_series=1000")
	f("query: up, model: cusum", "train=2h0m0s", "max_series=1000")
	f("query: up, model: peers, every: 1m", "threshold=6", "train=33h20m0s", "max_series=1000")
	f("query: up, model: threshold, threshold: 0, direction: above", "threshold=0", "train=2h0m0s", "max_series=1000")
	f("query: up, model: trend, limit: 1", "train=6h0m0s", "horizon=1d", "window=6h0m0s", "max_series=1000")
	f("query: up, model: burn-rate", "train=3d", "objective=99.9%", "max_series=1000")
	f("query: up, model: absence", "train=1d", "patience=5", "max_series=1000")
	f("query: up, every: 24h", "false_alarms_per_week=1", "max_series=1000") // 180 days, which train does not take
}

// A watch that takes the place of one of a set is evidence of the same, unless it says otherwise.
func TestAWatchInPlaceOfAReadyMadeOne(t *testing.T) {
	f := func(set, watch, about, class, group string) {
		t.Helper()
		for _, list := range []string{"{ready: " + set + "}, {" + watch + "}", "{" + watch + "}, {ready: " + set + "}"} {
			c := parsed(t, threeSites+"watches: ["+list+"]\n")
			i := slices.IndexFunc(c.Watches, func(w Watch) bool { return w.Query == "mine" })
			if w := c.Watches[i]; w.About != about || w.Class != class || w.Group != group {
				t.Errorf("%s: about %s, class %s, group %q", watch, w.About, w.Class, w.Group)
			}
		}
	}
	f("store", "name: store-parts, query: mine", "site", "cause", "")
	f("store", "name: store-parts, query: mine, about: target_site, class: symptom", "target_site", "symptom", "")
	f("links", "name: links-lag, query: mine", "link.to", "cause", "")
	f("http", "name: http-latency, query: mine", "target_site", "symptom", "latency")
	f("http", "name: http-latency, query: mine, group: other", "target_site", "symptom", "other")
	f("http", "name: http-latency, query: mine, class: cause", "target_site", "cause", "")
	f("http", "name: http-latency, query: mine, model: trend, limit: 1", "target_site", "cause", "")
	f("http", "name: another, query: mine", "target_site", "symptom", "")
}

func TestAWatchAsksAsLateAsItIsTold(t *testing.T) {
	c := parsed(t, threeSites+"watches: [{name: w, query: up, eval_delay: 90s}]\n")
	if d := c.Watches[0].Detect().EvalDelay; d.String() != "1m30s" {
		t.Errorf("it asks %s behind the clock", d)
	}
}
