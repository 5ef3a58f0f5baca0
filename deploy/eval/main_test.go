package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Anchors that see the past stand apart from those in hindsight, and nobody is shown who has not judged all of a source.
func TestTables(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "anchors"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("auto.json", `{"sources":[{"source":"kpi","series":2,"vus_pr":0.5,"event_f1":0.25,"false_alarms_per_series_day":0.1}]}`)
	write("cusum.json", `{"sources":[{"source":"kpi","series":1,"series_without_scores":1,"vus_pr":0.9}]}`)
	write("anchors/base-a.json", `{"sources":[{"source":"kpi","series":2,"vus_pr":0.4,"event_f1":0}]}`)
	write("anchors/base-b.json", `{"sources":[{"source":"kpi","series":2,"vus_pr":0.3,"event_f1":0.1}]}`)
	write("anchors/base-part.json", `{"sources":[{"source":"kpi","series":1,"series_without_scores":1,"vus_pr":0.8}]}`)
	write("anchors/off-c.json", `{"sources":[{"source":"kpi","series":2,"vus_pr":0.7,"event_f1":null}]}`)
	write("tool", "#!/bin/sh\necho \"| nab | 9 |\"; echo \"| kpi | 2 | $(basename $2) less $(basename $3) |\"\n")
	if err := os.Chmod(filepath.Join(dir, "tool"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(&out, dir, filepath.Join(dir, "anchors"), filepath.Join(dir, "tool"), []string{"auto", "cusum"}); err != nil {
		t.Fatal(err)
	}
	want := `| VUS-PR | auto | cusum | best anchor that sees the past | in hindsight |
|---|---|---|---|---|
| kpi | 0.500 | - | 0.400 base-a | 0.700 off-c |

| event F1 | auto | cusum | best anchor that sees the past | in hindsight |
|---|---|---|---|---|
| kpi | 0.250 | - | 0.100 base-b | - |

| false alarms a series-day | auto | cusum |
|---|---|---|
| kpi | 0.100 | - |

| auto minus the anchor of the best VUS-PR (95 %, paired) | anchor | series | VUS-PR | best F1 | event F1 |
|---|---|---|---|---|---|
| kpi | base-a | 2 | base-a.json less auto.json |
| kpi | off-c | 2 | off-c.json less auto.json |
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}
