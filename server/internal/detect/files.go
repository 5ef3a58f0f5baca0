package detect

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// Files judges recorded series, each from its first row to its last as a watch would have, with the model as it is
// shipped. In the directory in stand inputs.csv, which lists the series (columns id, kind and file), and their files:
//
//	unix_ms,value           one series: kind uni
//	unix_ms,m00,m01,...     the series of one service, judged together: kind multi
//
// plain or gzipped; an empty value and NaN are missing. Of each series it writes out/<id>.csv with a row for every row:
//
//	unix_ms,score,is_anomaly
//
// where the score is larger for what is odder, -12 for a row that could not be judged, and is_anomaly is 1 at the rows at
// which an alarm is raised, not while it lasts. The score of auto is minus the decimal logarithm of how often a week the
// like is expected by chance, and while an alarm lasts no larger than that of its budget, since it is one alarm; of the
// other models, minus that of the tail probability. The series of a service are judged together by service, which is what auto
// is for them; a kind that the model does not judge is left out, which progress is told. A file is there when it is whole.
func Files(ctx context.Context, in, out string, model Model, progress io.Writer) error {
	w := Watch{Model: model}
	if able := append(learners(), ModelService); !slices.Contains(able, w.model()) {
		return fmt.Errorf("model %q: want one of %s; the others do not know a series from its past alone", model, listed(able))
	}
	list, err := inputs(filepath.Join(in, listFile))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // scores are no secret
		return fmt.Errorf("output directory: %w", err)
	}
	if err := spared(list, in, out); err != nil {
		return err
	}
	work := make(chan input)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for x := range work {
				note, err := x.judge(ctx, in, out, w)
				mu.Lock()
				if err == nil && note != "" {
					_, err = fmt.Fprintf(progress, "%s: %s\n", x.id, note)
				}
				if err != nil && ctx.Err() == nil { // the failure that ends the others, and none of theirs
					errs = append(errs, fmt.Errorf("%s: %w", x.id, err))
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for _, x := range list {
		if ctx.Err() != nil {
			break
		}
		work <- x
	}
	close(work)
	wg.Wait()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return ctx.Err() //nolint:wrapcheck // the end that the caller asked for
}

// listFile lists the series.
const listFile = "inputs.csv"

// The kinds of series.
const (
	kindUni   = "uni"   // one
	kindMulti = "multi" // those of a service
)

// spared says which scores would take the place of what is read.
func spared(list []input, in, out string) error {
	read := map[string]os.FileInfo{}
	names := []string{listFile}
	for _, x := range list {
		names = append(names, x.file)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(in, name)); err == nil { // that one is missing is told when it is opened
			read[name] = info
		}
	}
	for _, x := range list {
		there, err := os.Stat(x.scores(out))
		if err != nil {
			continue
		}
		for _, name := range names {
			if info, ok := read[name]; ok && os.SameFile(there, info) {
				return fmt.Errorf("%s: its scores would take the place of %s; want another output directory", x.id, name)
			}
		}
	}
	return nil
}

// scores is where those of a series are written.
func (x input) scores(out string) string { return filepath.Join(out, x.id+".csv") }

// input is a line of the list.
type input struct{ id, kind, file string }

func inputs(path string) ([]input, error) {
	f, err := os.Open(path) //nolint:gosec // a path of the command line
	if err != nil {
		return nil, fmt.Errorf("list of the series: %w; want a directory with inputs.csv and the series it names", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	rows, err := csv.NewReader(withoutMark(bufio.NewReader(f))).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("list of the series: %w", err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("list of the series: %s is empty; want a header with id, kind and file", path)
	}
	if len(rows) == 1 {
		return nil, fmt.Errorf("list of the series: %s names none", path)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"id", "kind", "file"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("%s: no column %q; want a header with id, kind and file", path, name)
		}
	}
	var out []input
	seen := map[string]bool{}
	for i, r := range rows[1:] {
		x := input{r[column["id"]], r[column["kind"]], r[column["file"]]}
		switch {
		case x.id == "" || x.id != filepath.Base(x.id) || x.id == "/" || strings.HasPrefix(x.id, "."):
			return nil, fmt.Errorf("%s:%d: id %q cannot be the name of a file", path, i+2, x.id)
		case !filepath.IsLocal(x.file):
			return nil, fmt.Errorf("%s:%d: file %q is not below the directory", path, i+2, x.file)
		case x.kind != kindUni && x.kind != kindMulti:
			return nil, fmt.Errorf("%s:%d: kind %q; want uni for one series, or multi for those of a service", path, i+2, x.kind)
		case seen[x.id]:
			return nil, fmt.Errorf("%s:%d: id %q is there twice", path, i+2, x.id)
		}
		seen[x.id] = true
		out = append(out, x)
	}
	return out, nil
}

// judge reads one series and writes its scores.
func (x input) judge(ctx context.Context, in, out string, w Watch) (note string, err error) {
	f, err := os.Open(filepath.Join(in, x.file)) //nolint:gosec // a path of the command line
	if err != nil {
		return "", fmt.Errorf("series: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	var r io.Reader = f
	if strings.HasSuffix(x.file, ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return "", fmt.Errorf("series %s: %w", x.file, err)
		}
		defer z.Close() //nolint:errcheck // it was only read
		r = z
	}
	rows, err := newRowReader(withoutMark(bufio.NewReaderSize(r, 1<<16)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", x.file, err)
	}
	j := judgeOf(w, rows.columns)
	if j == nil {
		if rows.columns == 1 {
			return "left out: " + string(w.model()) + " judges the series of a service, not one", nil
		}
		return "left out: " + string(w.model()) + " judges one series, not the " + strconv.Itoa(rows.columns) + " of a service", nil
	}
	tmp, err := os.CreateTemp(out, ".scores-*")
	if err != nil {
		return "", fmt.Errorf("scores: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it is gone when all went well
	defer tmp.Close()           //nolint:errcheck // the close that counts is below
	b := bufio.NewWriterSize(tmp, 1<<16)
	if err := scores(ctx, rows, j, -math.Log10(w.falseAlarms()), b); err != nil {
		return "", fmt.Errorf("%s: %w", x.file, err)
	}
	err = errors.Join(b.Flush(), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), x.scores(out))
	}
	if err != nil {
		return "", fmt.Errorf("scores: %w", err)
	}
	return "", nil
}

// judgeOf is the model for rows of so many values; nil when there is none.
func judgeOf(w Watch, columns int) func(time.Time, []float64) detectors.Verdict {
	if columns > 1 {
		if w.model() != ModelAuto && w.model() != ModelService {
			return nil
		}
		return w.whole(nil).Observe
	}
	m := w.newModel(nil)
	if m == nil {
		return nil
	}
	return func(at time.Time, values []float64) detectors.Verdict {
		return m.Observe(detectors.Point{At: at, Value: values[0], Missing: math.IsNaN(values[0])})
	}
}

// lasting is the score of a row of an alarm that was raised before: below the one of the budget, and in the same order.
func lasting(score, budget float64) float64 {
	if score <= budget {
		return score
	}
	return budget - 1e-4/(1+score-budget)
}

// lowestScore is that of a row that could not be judged.
const lowestScore = -12

// scores judges the rows in their order. Budget is the score at which auto raises an alarm.
func scores(ctx context.Context, rows *rowReader, judge func(time.Time, []float64) detectors.Verdict, budget float64, out *bufio.Writer) error {
	if _, err := out.WriteString("unix_ms,score,is_anomaly\n"); err != nil {
		return fmt.Errorf("write scores: %w", err)
	}
	var line []byte
	var on bool
	for {
		at, values, err := rows.next()
		if errors.Is(err, io.EOF) {
			return ctx.Err() //nolint:wrapcheck // the end that the caller asked for
		}
		if err != nil {
			return err
		}
		if rows.line%4096 == 0 && ctx.Err() != nil {
			return ctx.Err() //nolint:wrapcheck // the end that the caller asked for
		}
		v := judge(time.UnixMilli(at).UTC(), values)
		score := float64(lowestScore)
		switch {
		case !v.HasScore:
		case v.PerWeek > 0:
			score = -math.Log10(v.PerWeek)
		default:
			score = -math.Log10(max(v.Tail, 1e-300)) + 0 // -0 becomes 0
		}
		raised := v.State == detectors.StateAnomalous && !on
		if v.PerWeek > 0 && on && v.State == detectors.StateAnomalous {
			score = lasting(score, budget)
		}
		if v.State != detectors.StateUnknown { // what is not known holds what was
			on = v.State == detectors.StateAnomalous
		}
		line = strconv.AppendInt(line[:0], at, 10)
		line = append(line, ',')
		line = strconv.AppendFloat(line, score, 'g', 8, 64)
		line = append(line, ",0\n"...)
		if raised {
			line[len(line)-2] = '1'
		}
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("write scores: %w", err)
		}
	}
}

// withoutMark passes over the byte order mark that some programs begin a text with.
func withoutMark(r *bufio.Reader) io.Reader {
	if b, err := r.Peek(3); err == nil && string(b) == "\ufeff" {
		_, _ = r.Discard(3) // they are in the buffer
	}
	return r
}

// rowReader reads the rows of a series file. The values of a row stand until the next one.
type rowReader struct {
	in      *bufio.Scanner
	columns int
	line    int
	values  []float64
}

const longestRow = 1 << 20 // bytes

// scanned says of a line that cannot be read what is wrong with it.
func scanned(line int, err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: it is longer than the %d bytes that a row may have; want one row a line", line, longestRow)
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// A first row between these, of milliseconds, is of 1970: it is in seconds, of a time after 2001.
const leastSeconds, mostSeconds = 1e9, 1e10

func newRowReader(r io.Reader) (*rowReader, error) {
	x := &rowReader{in: bufio.NewScanner(r)}
	x.in.Buffer(make([]byte, 0, 1<<16), longestRow)
	if !x.in.Scan() {
		if err := x.in.Err(); err != nil {
			return nil, scanned(1, err)
		}
		return nil, errors.New("line 1: no header; want unix_ms,value")
	}
	x.line = 1
	names := strings.Split(strings.TrimRight(x.in.Text(), "\r"), ",")
	if len(names) < 2 || names[0] != "unix_ms" {
		return nil, fmt.Errorf("line 1: header %.80q; want unix_ms,value or unix_ms,m00,m01 and so on", x.in.Text())
	}
	if slices.Contains(names, "label") {
		return nil, errors.New("line 1: it has labels, which no detector may see; strip them first")
	}
	x.columns = len(names) - 1
	x.values = make([]float64, x.columns)
	return x, nil
}

// next is the next row, or io.EOF.
func (x *rowReader) next() (at int64, values []float64, err error) {
	if !x.in.Scan() {
		if err := x.in.Err(); err != nil {
			return 0, nil, scanned(x.line+1, err)
		}
		return 0, nil, io.EOF
	}
	x.line++
	first, rest, _ := strings.Cut(strings.TrimRight(x.in.Text(), "\r"), ",")
	at, err = strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("line %d: time %.40q; want whole milliseconds since 1970", x.line, first)
	}
	if x.line == 2 && at >= leastSeconds && at < mostSeconds {
		return 0, nil, fmt.Errorf("line %d: time %d would be in 1970; unix_ms wants milliseconds, 1000 times the seconds", x.line, at)
	}
	if n := strings.Count(rest, ",") + 1; n != x.columns {
		return 0, nil, fmt.Errorf("line %d: %d values, the header has %d", x.line, n, x.columns)
	}
	for i := range x.values {
		var cell string
		cell, rest, _ = strings.Cut(rest, ",")
		x.values[i] = math.NaN()
		if cell == "" {
			continue
		}
		v, err := strconv.ParseFloat(cell, 64)
		if err != nil && !math.IsInf(v, 0) {
			return 0, nil, fmt.Errorf("line %d: value %.40q is not a number", x.line, cell)
		}
		x.values[i] = v
	}
	return at, x.values, nil
}
