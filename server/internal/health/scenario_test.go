package health

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// TestScenarios tells the stories under testdata/stories. Their first lines explain the words:
//
//	world   who is there
//	story   one fault or wait per line; the answer is every change of judgement, with its time in seconds
//	show    one subject in full: votes, evidence, claims
//	links   what is known of every replication link
//	traffic what the edge says now, or only of what it counted after "since" seconds
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		var w *world
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "world":
				var sites, witnesses, services, links []string
				for _, a := range d.CmdArgs {
					switch a.Key {
					case "sites":
						sites = a.Vals
					case "witnesses":
						witnesses = a.Vals
					case "services":
						services = a.Vals
					case "links":
						links = a.Vals
					}
				}
				if services == nil {
					services = []string{"checkout"}
				}
				topo := testTopology(sites, witnesses, services)
				topo.Stores = testStores(d, t, links)
				w = newWorld(t, topo)
				w.run(10 * time.Second)
				return w.take()
			case "story":
				w.tb = t
				for line := range strings.Lines(d.Input) {
					line, _, _ = strings.Cut(line, "#")
					if strings.TrimSpace(line) == "" {
						continue
					}
					if err := w.do(strings.TrimSpace(line)); err != nil {
						d.Fatalf(t, "%s: %v", line, err)
					}
				}
				return w.take()
			case "show":
				return w.show(d.CmdArgs[0].Key)
			case "links":
				return w.showLinks()
			case "traffic":
				return w.traffic(t, d)
			}
			d.Fatalf(t, "unknown word %q", d.Cmd)
			return ""
		})
	})
}

// testStores reads "orders:fra>ams/5s": a link and its objective.
func testStores(d *datadriven.TestData, t *testing.T, links []string) []core.Store {
	var out []core.Store
	for _, text := range links {
		name, objective, _ := strings.Cut(text, "/")
		store, from, to, ok := core.SplitLinkName(name)
		rpo, err := time.ParseDuration(objective)
		if !ok || err != nil {
			d.Fatalf(t, "%q is no link with an objective", text)
		}
		out = append(out, core.Store{Name: store, Links: []core.Link{{From: from, To: to, RPO: rpo}}})
	}
	return out
}

// showLinks is what is known of every link, its ends below it.
func (w *world) showLinks() string {
	var b strings.Builder
	for _, l := range w.last.Links {
		complete := "-"
		if l.CompleteTo != nil {
			complete = fmt.Sprintf("%.2f", l.CompleteTo.Sub(w.start).Seconds())
		}
		fmt.Fprintf(&b, "%s since %.2f, complete to %s, declared %t\n", l.Sentence, l.Since.Sub(w.start).Seconds(), complete, l.Declared)
		for _, e := range l.Ends {
			fmt.Fprintf(&b, "  %s %s by %s: %s %s at %.2f", e.Channel, e.End, e.Writer, e.State, e.Reason, e.At.Sub(w.start).Seconds())
			if !e.Fresh {
				b.WriteString(" (too old)")
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// take is what was written down since the last time.
func (w *world) take() string {
	text := w.out.String()
	w.out.Reset()
	if text == "" {
		return "nothing changed\n"
	}
	return text
}

func (w *world) show(subject string) string {
	var b strings.Builder
	sec := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f", t.Sub(w.start).Seconds())
	}
	for _, a := range w.last.Assessments {
		if a.Subject != w.subject(subject) {
			continue
		}
		fmt.Fprintf(&b, "%s: %s %s %s\n", a.Subject, a.Condition, a.Kind, a.Signal)
		fmt.Fprintf(&b, "  %s\n", a.Sentence)
		fmt.Fprintf(&b, "  onset %s, failing since %s, healthy since %s, down %d of %d\n", sec(a.Onset), sec(a.FailingSince), sec(a.HealthySince), a.Down, a.Eligible)
		for _, v := range a.Votes {
			fmt.Fprintf(&b, "  vote %s: %s %s", v.Vantage, v.State, cmp.Or(v.Reason, v.Signal))
			if !v.Eligible {
				b.WriteString("(the accused)")
			}
			b.WriteByte('\n')
		}
		for _, e := range a.Evidence {
			fmt.Fprintf(&b, "  %s %s over %s, %s to %s: %s\n", e.Class, e.Signal, e.Path, sec(&e.Onset), sec(&e.Last), e.Sentence)
		}
		for _, e := range a.Odd {
			fmt.Fprintf(&b, "  odd %s over %s, since %s: %s\n", e.Source, e.Path, sec(&e.Onset), e.Sentence)
		}
		for _, c := range a.Claims {
			if c.Samples > 0 {
				fmt.Fprintf(&b, "  claim %s: %.2f of %d\n", c.Name, c.Ratio, c.Samples)
			} else {
				fmt.Fprintf(&b, "  claim %s: unknown\n", c.Name)
			}
		}
		if len(a.Global) > 0 {
			fmt.Fprintf(&b, "  global: %s\n", strings.Join(a.Global, " "))
		}
	}
	return b.String()
}

func (w *world) traffic(t *testing.T, d *datadriven.TestData) string {
	var b strings.Builder
	list := w.last.Traffic
	if d.HasArg("since") {
		var text string
		d.ScanArgs(t, "since", &text)
		since, err := time.ParseDuration(text)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		list = nil
		for _, tr := range w.last.Traffic {
			list = append(list, w.tracker.TrafficSince(tr.Site, tr.Service, w.start.Add(since)))
		}
	}
	for _, tr := range list {
		name := core.Subject{Site: tr.Site, Service: tr.Service}.String()
		if !tr.Known {
			fmt.Fprintf(&b, "%s: unknown\n", name)
			continue
		}
		fmt.Fprintf(&b, "%s: %.0f/s, %.0f counted, share %.2f, success %.2f, service %.2f of %.0f, at %.2f\n", name, tr.Requests, tr.Count,
			tr.Share, tr.Success, tr.ServiceSuccess, tr.ServiceCount, tr.At.Sub(w.start).Seconds())
	}
	return b.String()
}
