package detectortest

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// RunRow checks the promises of detectors.RowModel. build returns a new model with the same parameters each time; it
// must be one that leaves its warm-up within 1000 rows of four series.
func RunRow(t *testing.T, build func() detectors.RowModel) {
	t.Helper()
	t.Run("parameters are valid", func(t *testing.T) {
		if err := build().Validate(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("verdicts are finite and consistent", func(t *testing.T) { rowFinite(t, build) })
	t.Run("rows out of order change nothing", func(t *testing.T) { rowOrder(t, build) })
	t.Run("restore goes on where snapshot stood", func(t *testing.T) { rowRestore(t, build) })
	t.Run("bad snapshots are refused", func(t *testing.T) { rowBadSnapshots(t, build) })
	t.Run("leaves the warm-up", func(t *testing.T) { rowWarms(t, build) })
	t.Run("observe allocates nothing", func(t *testing.T) { rowAllocates(t, build) })
}

// Whole is a model of rows that answers each with one verdict of them together, such as detectors.Service.
type Whole interface {
	Observe(at time.Time, values []float64) detectors.Verdict
	Snapshot() ([]byte, error)
	Restore([]byte) error
	Validate() error
}

// RunWhole checks the same promises of a model that answers a row with one verdict.
func RunWhole(t *testing.T, build func() Whole) {
	t.Helper()
	rows := func() detectors.RowModel { return &wholeRows{Whole: build()} }
	t.Run("parameters are valid", func(t *testing.T) {
		if err := build().Validate(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("verdicts are finite and consistent", func(t *testing.T) { wholeFinite(t, build) })
	t.Run("rows without a value change nothing", func(t *testing.T) { wholeEmpty(t, build) })
	t.Run("rows out of order change nothing", func(t *testing.T) { rowOrder(t, rows) })
	t.Run("restore goes on where snapshot stood", func(t *testing.T) { rowRestore(t, rows) })
	t.Run("bad snapshots are refused", func(t *testing.T) { rowBadSnapshots(t, rows) })
	t.Run("leaves the warm-up", func(t *testing.T) { rowWarms(t, rows) })
	t.Run("observe allocates nothing", func(t *testing.T) { rowAllocates(t, rows) })
}

// wholeRows answers with the one verdict as a row of its own.
type wholeRows struct {
	Whole
	said [1]detectors.Verdict
}

func (w *wholeRows) Observe(at time.Time, values []float64) []detectors.Verdict {
	w.said[0] = w.Whole.Observe(at, values)
	return w.said[:]
}

const rowColumns = 4

// rows are four series that move together, with everything that operations metrics do to one of them.
func rows(n int) [][]float64 {
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test series, not a secret
	out := make([][]float64, n)
	for i := range out {
		shared := 100 + 50*math.Sin(float64(i)/200)
		row := make([]float64, rowColumns)
		for k := range row {
			row[k] = shared*float64(1+k) + r.NormFloat64()
		}
		switch odd := i % rowColumns; {
		case i%97 == 96:
			row[odd] = 1e300
		case i%89 == 88:
			row[odd] = -1e300
		case i%53 == 52:
			row[odd] = math.NaN()
		case i%61 == 60:
			row[odd] = math.Inf(1)
		case i%71 == 70:
			row[odd], row[(odd+1)%rowColumns] = math.NaN(), math.NaN()
		case i%73 == 72:
			row = row[:2]
		case i > n/2 && i < n/2+50:
			row[1] = 0
		case i > 3*n/4:
			row[2] *= 1000
		}
		out[i] = row
	}
	return out
}

func rowAt(i int) time.Time { return start().Add(time.Duration(i) * 10 * time.Second) }

func rowFinite(t *testing.T, build func() detectors.RowModel) {
	m := build()
	for i, row := range rows(3000) {
		given := slices.Clone(row)
		vs := m.Observe(rowAt(i), row)
		if len(vs) != len(row) {
			t.Fatalf("row %d: %d verdicts of %d values", i, len(vs), len(row))
		}
		for k, v := range vs {
			if math.Float64bits(row[k]) != math.Float64bits(given[k]) {
				t.Fatalf("row %d: the caller's row was changed", i)
			}
			if s := Check(v); s != "" {
				t.Fatalf("row %d, value %v: %s: %+v", i, row[k], s, v)
			}
			if bad := math.IsNaN(row[k]) || math.IsInf(row[k], 0); bad && (v.State != detectors.StateUnknown || v.HasScore) {
				t.Fatalf("row %d, value %v: %+v", i, row[k], v)
			}
		}
	}
}

func wholeFinite(t *testing.T, build func() Whole) {
	m := build()
	for i, row := range rows(3000) {
		given := slices.Clone(row)
		v := m.Observe(rowAt(i), row)
		for k := range row {
			if math.Float64bits(row[k]) != math.Float64bits(given[k]) {
				t.Fatalf("row %d: the caller's row was changed", i)
			}
		}
		if s := Check(v); s != "" {
			t.Fatalf("row %d, %v: %s: %+v", i, row, s, v)
		}
		if v.State == detectors.StateUnknown {
			t.Fatalf("row %d, %v: unknown (%s) for a row with good values", i, row, v.Reason)
		}
	}
}

func wholeEmpty(t *testing.T, build func() Whole) {
	a, b := build(), build()
	for i, row := range rows(1500) {
		want := a.Observe(rowAt(i), row)
		for _, empty := range [][]float64{nil, {}, {math.NaN()}, {math.NaN(), math.Inf(1), math.Inf(-1), math.NaN()}} {
			if v := b.Observe(rowAt(i), empty); v.State != detectors.StateUnknown || v.HasScore || Check(v) != "" {
				t.Fatalf("row %d: %v answered with %+v", i, empty, v)
			}
		}
		if got := b.Observe(rowAt(i), row); got != want {
			t.Fatalf("row %d: rows without a value before it changed the verdict:\n got %+v\nwant %+v", i, got, want)
		}
	}
}

func rowOrder(t *testing.T, build func() detectors.RowModel) {
	a, b := build(), build()
	for i, row := range rows(1500) {
		want := slices.Clone(a.Observe(rowAt(i), row))
		if got := b.Observe(rowAt(i), row); !slices.Equal(got, want) {
			t.Fatalf("row %d: a row out of order or another model changed the verdicts:\n got %+v\nwant %+v", i, got, want)
		}
		for _, back := range []time.Duration{0, -time.Nanosecond, -time.Hour} {
			for _, v := range b.Observe(rowAt(i).Add(back), []float64{1e6, 1e6, 1e6, math.NaN()}) {
				if v.State != detectors.StateUnknown || v.Reason != detectors.ReasonOutOfOrder || v.HasScore {
					t.Fatalf("row %d: time moved by %v and the verdict is %+v", i, back, v)
				}
			}
		}
	}
}

func rowRestore(t *testing.T, build func() detectors.RowModel) {
	m := build()
	for i, row := range rows(1500) {
		if i%50 == 0 {
			snap, err := m.Snapshot()
			if err != nil {
				t.Fatalf("snapshot at row %d: %v", i, err)
			}
			fresh := build()
			fresh.Observe(rowAt(0), []float64{1, 2, 3, 4}) // what it had learned is replaced
			if err := fresh.Restore(snap); err != nil {
				t.Fatalf("restore at row %d: %v", i, err)
			}
			again, err := fresh.Snapshot()
			if err != nil || string(again) != string(snap) {
				t.Fatalf("snapshot of the restored model at row %d differs (%v):\n%s\n%s", i, err, snap, again)
			}
			want := slices.Clone(m.Observe(rowAt(i), row))
			m = fresh
			if got := m.Observe(rowAt(i), row); !slices.Equal(got, want) {
				t.Fatalf("row %d: restored says %+v, original says %+v", i, got, want)
			}
			continue
		}
		m.Observe(rowAt(i), row)
	}
}

func rowBadSnapshots(t *testing.T, build func() detectors.RowModel) {
	m, twin := build(), build()
	all := rows(501)
	for i, row := range all[:500] {
		m.Observe(rowAt(i), row)
		twin.Observe(rowAt(i), row)
	}
	good, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range damaged(good) {
		err := m.Restore(b)
		if err == nil {
			t.Fatalf("a damaged snapshot was taken: %.200q", b)
		}
		if !errors.Is(err, detectors.ErrSnapshot) {
			t.Fatalf("error does not wrap ErrSnapshot: %v", err)
		}
	}
	want := slices.Clone(twin.Observe(rowAt(500), all[500]))
	if got := m.Observe(rowAt(500), all[500]); !slices.Equal(got, want) {
		t.Fatalf("a refused snapshot changed the model:\n got %+v\nwant %+v", got, want)
	}
}

func rowWarms(t *testing.T, build func() detectors.RowModel) {
	m := build()
	for i := range 1000 {
		for _, v := range m.Observe(rowAt(i), []float64{10, 10, 20, 30}) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("row %d of constants is anomalous: %s", i, v.Explain())
			}
			if i == 999 && v.State != detectors.StateNormal {
				t.Fatalf("after 1000 rows of constants: %s (%s)", v.State, v.Explain())
			}
		}
	}
}

func rowAllocates(t *testing.T, build func() detectors.RowModel) {
	m := build()
	all := rows(1000)
	i := 0
	next := func() { m.Observe(rowAt(i), all[i%len(all)]); i++ }
	for range all {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n != 0 {
		t.Fatalf("%v allocations per row", n)
	}
}
