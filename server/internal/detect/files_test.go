package detect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// recorded makes a directory of series; a name that ends in .gz is compressed.
func recorded(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		content := []byte(text)
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			fmt.Fprint(z, text)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			content = b.Bytes()
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const listed = "id,source,kind,n_metrics,interval_s,n_points,train_end_index,file\n"

// steady is a series of noise in which some rows stand out.
func steady(n int, odd ...int) string {
	r := rand.New(rand.NewPCG(5, 6))
	var b strings.Builder
	b.WriteString("unix_ms,value\n")
	for i := range n {
		x := 100 + r.NormFloat64()
		for _, k := range odd {
			if i == k {
				x = 400
			}
		}
		fmt.Fprintf(&b, "%d,%.4f\n", 1_700_000_000_000+int64(i)*10_000, x)
	}
	return b.String()
}

func scoresOf(t *testing.T, dir, id string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, id+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func TestFilesAreJudgedRowByRow(t *testing.T) {
	whole := steady(3000, 1500, 1501, 1502, 2500)
	in := recorded(t, map[string]string{
		"inputs.csv":         listed + "a,lab,uni,1,10,3000,0,series/a.csv.gz\nb,lab,multi,2,10,3000,0,b.csv\n",
		"series/a.csv.gz":    whole,
		"b.csv":              doubled(whole),
		"not/listed/at.all":  "x",
		"another-readme.txt": "x",
	})
	for _, model := range []detect.Model{detect.ModelAuto, detect.ModelRobustZ, detect.ModelSeasonal, detect.ModelLocalFit, detect.ModelCUSUM} {
		out := filepath.Join(t.TempDir(), "made")
		var notes strings.Builder
		if err := detect.Files(t.Context(), in, out, model, &notes); err != nil {
			t.Fatal(err)
		}
		rows := scoresOf(t, out, "a")
		if len(rows) != 3001 || rows[0] != "unix_ms,score,is_anomaly" {
			t.Fatalf("%s: %d rows, %q", model, len(rows), rows[0])
		}
		if strings.Contains(strings.Join(rows, "\n"), ",-0,") {
			t.Errorf("%s: a score of -0", model)
		}
		if model == detect.ModelCUSUM { // it is for what lasts
			continue
		}
		for _, i := range []int{1500, 2500} {
			if !strings.HasSuffix(rows[1+i], ",1") || !strings.HasPrefix(rows[1+i], fmt.Sprint(1_700_000_000_000+i*10_000)) {
				t.Errorf("%s: row %d is %q", model, i, rows[1+i])
			}
		}
		if n := strings.Count(strings.Join(rows, "\n"), ",1\n"); n > 6 {
			t.Errorf("%s: %d alarms", model, n)
		}
		for _, row := range rows[1:] { // an alarm is told once, however long it lasts
			_, score, _ := strings.Cut(row, ",")
			if model == detect.ModelAuto && !strings.HasPrefix(score, "-") && !strings.HasPrefix(score, "0,") && !strings.HasSuffix(score, ",1") {
				t.Errorf("%s: row %q is above the budget and raises nothing", model, row)
			}
		}
		left := strings.Contains(notes.String(), "b: left out")
		if left == (model == detect.ModelAuto) {
			t.Errorf("%s: notes %q", model, notes.String())
		}
		if model == detect.ModelAuto && !strings.HasSuffix(scoresOf(t, out, "b")[1501], ",1") {
			t.Error("the service is not anomalous where both of its series are")
		}
	}
}

// Service is what auto is for the series of a service, and leaves single ones out.
func TestFilesOfAServiceByItsName(t *testing.T) {
	whole := steady(3000, 1500, 1501, 1502)
	in := recorded(t, map[string]string{
		"inputs.csv": listed + "a,lab,uni,1,10,3000,0,a.csv\nb,lab,multi,2,10,3000,0,b.csv\n", "a.csv": whole, "b.csv": doubled(whole),
	})
	auto, service := t.TempDir(), t.TempDir()
	var notes strings.Builder
	if err := detect.Files(t.Context(), in, auto, detect.ModelAuto, &notes); err != nil || notes.Len() > 0 {
		t.Fatal(notes.String(), err)
	}
	if err := detect.Files(t.Context(), in, service, detect.ModelService, &notes); err != nil {
		t.Fatal(err)
	}
	if want := "a: left out: service judges the series of a service, not one\n"; notes.String() != want {
		t.Errorf("notes %q, want %q", notes.String(), want)
	}
	if _, err := os.Stat(filepath.Join(service, "a.csv")); err == nil {
		t.Error("a single series has scores of service")
	}
	if !slices.Equal(scoresOf(t, service, "b"), scoresOf(t, auto, "b")) {
		t.Error("the scores of service are not those of auto")
	}
}

// doubled gives each row its value twice.
func doubled(series string) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(series, "\n"), "\n") {
		at, x, _ := strings.Cut(line, ",")
		if i == 0 {
			x = "m00,m01"
		} else {
			x += "," + x
		}
		b.WriteString(at + "," + x + "\n")
	}
	return b.String()
}

// What is said of a row does not change with the rows after it.
func TestFilesDoNotLookAhead(t *testing.T) {
	whole := steady(3000, 900, 2500)
	f := func(text string) []string {
		in := recorded(t, map[string]string{"inputs.csv": listed + "a,lab,uni,1,10,0,0,a.csv\n", "a.csv": text})
		out := t.TempDir()
		if err := detect.Files(t.Context(), in, out, detect.ModelAuto, &strings.Builder{}); err != nil {
			t.Fatal(err)
		}
		return scoresOf(t, out, "a")
	}
	full := f(whole)
	lines := strings.SplitAfter(whole, "\n")
	for i, row := range f(strings.Join(lines[:1801], "")) {
		if row != full[i] {
			t.Fatalf("row %d: %q of the first part, %q of all", i, row, full[i])
		}
	}
}

func TestFilesSayWhatIsWrong(t *testing.T) {
	f := func(files map[string]string, model detect.Model, want string) {
		t.Helper()
		out := t.TempDir()
		err := detect.Files(t.Context(), recorded(t, files), out, model, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	one := func(text string) map[string]string {
		return map[string]string{"inputs.csv": listed + "a,lab,uni,1,10,0,0,a.csv\n", "a.csv": text}
	}
	f(nil, "auto", "want a directory with inputs.csv")
	f(map[string]string{"inputs.csv": ""}, "auto", "is empty; want a header")
	f(map[string]string{"inputs.csv": listed}, "auto", "inputs.csv names none")
	f(map[string]string{"inputs.csv": "id,file\na,a.csv\n"}, "auto", `no column "kind"`)
	f(map[string]string{"inputs.csv": "id,kind,file\n/,uni,a.csv\n"}, "auto", `id "/" cannot be the name of a file`)
	f(map[string]string{"inputs.csv": "id,kind,file\n../a,uni,a.csv\n"}, "auto", `inputs.csv:2: id "../a" cannot be the name of a file`)
	f(map[string]string{"inputs.csv": "id,kind,file\na,uni,../a.csv\n"}, "auto", `inputs.csv:2: file "../a.csv" is not below the directory`)
	f(map[string]string{"inputs.csv": "id,kind,file\na,uni,a\na,uni,b\n"}, "auto", `inputs.csv:3: id "a" is there twice`)
	f(map[string]string{"inputs.csv": "id,kind,file\na,uni,a\n"}, "auto", "a: series: open")
	f(one(""), "auto", "a: a.csv: line 1: no header")
	f(one("time,value\n"), "auto", "want unix_ms,value or unix_ms,m00")
	f(one("unix_ms,value,label\n1,2,0\n"), "auto", "it has labels, which no detector may see")
	f(one("unix_ms,value\n1,2\nnow,2\n"), "auto", `line 3: time "now"; want whole milliseconds`)
	f(one("unix_ms,value\n1,2\n2,2,2\n"), "auto", "line 3: 2 values, the header has 1")
	f(one("unix_ms,value\n1,two\n"), "auto", `line 2: value "two" is not a number`)
	f(one("unix_ms,value\n1795838400,2\n1795838410,2\n"), "auto", "line 2: time 1795838400 would be in 1970; unix_ms wants milliseconds")
	f(one("unix_ms,value\n1,2\n2,"+strings.Repeat("0", 1<<20)+"\n"), "auto", "line 3: it is longer than the 1048576 bytes")
	f(one(strings.Repeat("x", 1<<20)), "auto", "line 1: it is longer than the 1048576 bytes")
	f(map[string]string{"inputs.csv": "id,kind,file\na,foo,a.csv\n"}, "auto", `inputs.csv:2: kind "foo"; want uni for one series, or multi`)
	f(one("unix_ms,value\n1,2\n"), "magic", `model "magic": want one of auto`)
	f(one("unix_ms,value\n1,2\n"), "threshold", "do not know a series from its past alone")
}

// One failure ends the others, and is what is told.
func TestFilesTellTheFailureAlone(t *testing.T) {
	files := map[string]string{"bad.csv": "unix_ms,value\n1,x\n", "good.csv": steady(50_000)}
	list := "id,kind,file\n"
	for i := range 6 {
		list += fmt.Sprintf("a%d,uni,good.csv\n", i)
	}
	files["inputs.csv"] = list + "b,uni,bad.csv\nc,uni,good.csv\n"
	err := detect.Files(t.Context(), recorded(t, files), t.TempDir(), detect.ModelAuto, &strings.Builder{})
	if err == nil || err.Error() != `b: bad.csv: line 2: value "x" is not a number` {
		t.Fatalf("error %v", err)
	}
}

func TestFilesMayBeginWithAByteOrderMark(t *testing.T) {
	const mark = "\ufeff"
	out := t.TempDir()
	in := recorded(t, map[string]string{"inputs.csv": mark + "id,kind,file\na,uni,a.csv.gz\n", "a.csv.gz": mark + "unix_ms,value\r\n1,2\r\n"})
	if err := detect.Files(t.Context(), in, out, detect.ModelAuto, &strings.Builder{}); err != nil {
		t.Fatal(err)
	}
	if rows := scoresOf(t, out, "a"); len(rows) != 2 {
		t.Fatalf("%q", rows)
	}
}

// Scores never take the place of what they are made from.
func TestFilesDoNotOverwriteWhatTheyRead(t *testing.T) {
	f := func(list, out string, want string) {
		t.Helper()
		files := map[string]string{"inputs.csv": "id,kind,file\n" + list, "a.csv": steady(300), "sub/b.csv": steady(200)}
		in := recorded(t, files)
		err := detect.Files(t.Context(), in, filepath.Join(in, out), detect.ModelAuto, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		for name, text := range files {
			if now, err := os.ReadFile(filepath.Join(in, name)); err != nil || string(now) != text {
				t.Errorf("%s is another file now: %v", name, err)
			}
		}
	}
	f("a,uni,a.csv\n", "", "a: its scores would take the place of a.csv; want another output directory")
	f("x,uni,a.csv\nb,uni,sub/b.csv\n", "sub", "b: its scores would take the place of sub/b.csv")
	f("inputs,uni,a.csv\n", "", "inputs: its scores would take the place of inputs.csv")
}

// Times and values may be anything that a number can be.
func TestFilesOfExtremes(t *testing.T) {
	text := "unix_ms,value\n"
	for i := range 400 {
		text += fmt.Sprintf("%d,%g\n", math.MinInt64+int64(i)*10_000, []float64{1e308, -1e308, 5e-324, 0, 1e-300}[i%5])
	}
	for i := range 400 {
		text += fmt.Sprintf("%d,%d\n", math.MaxInt64-int64(400-i)*86_400_000, i%7)
	}
	text += "9223372036854775807,\n9223372036854775807,1\n0,1\n"
	in := recorded(t, map[string]string{"inputs.csv": "id,kind,file\na,uni,a.csv\n", "a.csv": text})
	for _, model := range []detect.Model{detect.ModelAuto, detect.ModelRobustZ, detect.ModelSeasonal, detect.ModelLocalFit, detect.ModelCUSUM} {
		out := t.TempDir()
		if err := detect.Files(t.Context(), in, out, model, &strings.Builder{}); err != nil {
			t.Fatal(err)
		}
		for i, row := range scoresOf(t, out, "a") {
			if strings.Contains(row, "NaN") || strings.Contains(row, "Inf") {
				t.Fatalf("%s: row %d: %s", model, i, row)
			}
		}
	}
}

func TestFilesEndWhenTheyAreTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := recorded(t, map[string]string{"inputs.csv": listed + "a,lab,uni,1,10,0,0,a.csv\n", "a.csv": steady(5000)})
	out := t.TempDir()
	if err := detect.Files(ctx, in, out, detect.ModelAuto, &strings.Builder{}); err == nil {
		t.Fatal("no error")
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v %v", left, err)
	}
}

func FuzzSeriesFile(f *testing.F) {
	f.Add([]byte("unix_ms,value\n1,2\n2,\n3,NaN\n4,1e400\n"))
	f.Add([]byte("unix_ms,m00,m01\n1,2,3\r\n2,,\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, out := t.TempDir(), t.TempDir()
		if os.WriteFile(filepath.Join(dir, "inputs.csv"), []byte("id,kind,file\na,uni,a.csv\n"), 0o600) != nil ||
			os.WriteFile(filepath.Join(dir, "a.csv"), b, 0o600) != nil {
			t.Fatal("cannot write")
		}
		err := detect.Files(t.Context(), dir, out, detect.ModelAuto, &strings.Builder{})
		if err != nil {
			return
		}
		if n, rows := len(scoresOf(t, out, "a")), bytes.Count(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")); n != rows+1 {
			t.Fatalf("%d rows of scores for %d rows", n-1, rows)
		}
	})
}
