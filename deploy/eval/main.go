package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	dir := flag.String("dir", "", "directory with MODEL.json of the evaluator for each model")
	anchors := flag.String("anchors", "", "directory with the same of the anchors")
	tool := flag.String("evaltool", "", "the evaluator, to compare by")
	flag.Parse()
	if err := run(os.Stdout, *dir, *anchors, *tool, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

// report is what the evaluator counted of one detector.
type report struct {
	name    string
	path    string
	Sources []source `json:"sources"`
}

// source is a source of series; a figure is nil where there was nothing to count.
type source struct {
	Name        string   `json:"source"`
	Series      int      `json:"series"`
	Missing     int      `json:"series_without_scores"`
	VUSPR       *float64 `json:"vus_pr"`
	EventF1     *float64 `json:"event_f1"`
	FalseAlarms *float64 `json:"false_alarms_per_series_day"`
}

// of is the source of that name when every series of it has scores.
func (r report) of(name string) (source, bool) {
	for _, s := range r.Sources {
		if s.Name == name {
			return s, s.Series > 0 && s.Missing == 0
		}
	}
	return source{}, false
}

func read(path string) (report, error) {
	b, err := os.ReadFile(path) //nolint:gosec // a path of the command line
	if err != nil {
		return report{}, fmt.Errorf("report: %w", err)
	}
	r := report{name: strings.TrimSuffix(filepath.Base(path), ".json"), path: path}
	if err := json.Unmarshal(b, &r); err != nil {
		return report{}, fmt.Errorf("report %s: %w", path, err)
	}
	return r, nil
}

// figure is one that is shown of each model. Of those that have anchors the larger is the better.
type figure struct {
	title    string
	of       func(source) *float64
	anchored bool
}

func figures() []figure {
	return []figure{
		{"VUS-PR", func(s source) *float64 { return s.VUSPR }, true},
		{"event F1", func(s source) *float64 { return s.EventF1 }, true},
		{"false alarms a series-day", func(s source) *float64 { return s.FalseAlarms }, false},
	}
}

// hindsight reports whether an anchor saw the whole of a series before it judged a row.
func hindsight(anchor report) bool { return strings.HasPrefix(anchor.name, "off-") }

// best is the report with the largest figure of the source; the first of them by name, and nil when none has it.
func best(list []report, name string, f figure, late bool) (found *report, value float64) {
	for i, r := range list {
		s, ok := r.of(name)
		if !ok || hindsight(r) != late {
			continue
		}
		if v := f.of(s); v != nil && (found == nil || *v > value) {
			found, value = &list[i], *v
		}
	}
	return found, value
}

func run(out io.Writer, dir, anchors, tool string, models []string) error {
	if len(models) == 0 {
		return errors.New("want the models whose reports are set beside the anchors, the first of them to be compared")
	}
	var ours, theirs []report
	for _, m := range models {
		r, err := read(filepath.Join(dir, m+".json"))
		if err != nil {
			return err
		}
		ours = append(ours, r)
	}
	paths, err := filepath.Glob(filepath.Join(anchors, "*.json")) // sorted
	if err != nil {
		return fmt.Errorf("anchors: %w", err)
	}
	for _, p := range paths {
		r, err := read(p)
		if err != nil {
			return err
		}
		theirs = append(theirs, r)
	}
	for _, f := range figures() {
		if err := f.table(out, ours, theirs); err != nil {
			return err
		}
	}
	if len(theirs) == 0 {
		return nil
	}
	return compare(out, tool, ours[0], theirs)
}

// table writes the figure of each source, ours and the best of the anchors.
func (f figure) table(out io.Writer, ours, theirs []report) error {
	var b strings.Builder
	b.WriteString("| " + f.title + " |")
	for _, r := range ours {
		b.WriteString(" " + r.name + " |")
	}
	columns := 1 + len(ours)
	anchored := f.anchored && len(theirs) > 0
	if anchored {
		b.WriteString(" best anchor that sees the past | in hindsight |")
		columns += 2
	}
	b.WriteString("\n|" + strings.Repeat("---|", columns) + "\n")
	for _, s := range ours[0].Sources {
		b.WriteString("| " + s.Name + " |")
		for _, r := range ours {
			cell := "-"
			if x, ok := r.of(s.Name); ok && f.of(x) != nil {
				cell = fmt.Sprintf("%.3f", *f.of(x))
			}
			b.WriteString(" " + cell + " |")
		}
		for _, late := range []bool{false, true} {
			if !anchored {
				break
			}
			cell := "-"
			if r, v := best(theirs, s.Name, f, late); r != nil {
				cell = fmt.Sprintf("%.3f %s", v, r.name)
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	if _, err := fmt.Fprintln(out, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// compare writes the evaluator's own comparison, series by series, of the model with the best anchors of each source.
func compare(out io.Writer, tool string, model report, theirs []report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s minus the anchor of the best VUS-PR (95 %%, paired) | anchor | series | VUS-PR | best F1 | event F1 |\n|---|---|---|---|---|---|\n", model.name)
	for _, s := range model.Sources {
		for _, late := range []bool{false, true} {
			r, _ := best(theirs, s.Name, figures()[0], late)
			if r == nil {
				continue
			}
			said, err := exec.Command(tool, "compare", r.path, model.path).CombinedOutput() //nolint:gosec,noctx // the program of the command line
			if err != nil {
				return fmt.Errorf("compare with %s: %w: %s", r.name, err, said)
			}
			for line := range strings.Lines(string(said)) {
				if rest, ok := strings.CutPrefix(line, "| "+s.Name+" |"); ok {
					b.WriteString("| " + s.Name + " | " + r.name + " |" + rest)
				}
			}
		}
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
