package detectors_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

// edited is a snapshot whose state was changed and whose checksum is right.
func edited(t *testing.T, snap []byte, edit func(state any)) []byte {
	t.Helper()
	var e struct {
		Model   string          `json:"model"`
		Version int             `json:"version"`
		Sum     uint32          `json:"sum"`
		State   json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(snap, &e); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(e.State))
	d.UseNumber()
	var state any
	if err := d.Decode(&state); err != nil {
		t.Fatal(err)
	}
	edit(state)
	var err error
	if e.State, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	e.Sum = crc32.ChecksumIEEE(e.State)
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// leaves are the paths to the numbers and texts of a state; of a long array, to a few of them.
func leaves(x any, path []any, see func(path []any, leaf any)) {
	below := func(k any) []any { return append(append([]any(nil), path...), k) }
	switch x := x.(type) {
	case map[string]any:
		for k, y := range x {
			leaves(y, below(k), see)
		}
	case []any:
		for i, y := range x {
			if i < 2 || i == len(x)-1 {
				leaves(y, below(i), see)
			}
		}
	default:
		see(path, x)
	}
}

func put(state any, path []any, value any) {
	for i, k := range path {
		last := i == len(path)-1
		switch x := state.(type) {
		case map[string]any:
			if last {
				x[k.(string)] = value
			}
			state = x[k.(string)]
		case []any:
			if last {
				x[k.(int)] = value
			}
			state = x[k.(int)]
		}
	}
}

// insane are values that may stand in the place of one.
func insane(leaf any) []any {
	switch leaf := leaf.(type) {
	case json.Number:
		var out []any
		for _, x := range []string{
			"1e300", "-1e300", "1e-320", "-1", "0", "3", "100", "4294967295", "9223372036854775807", "-9223372036854775808",
		} {
			out = append(out, json.Number(x))
		}
		return append(out, nil)
	case bool:
		return []any{!leaf}
	case string:
		var out []any
		for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, -1} {
			raw, err := base64.StdEncoding.DecodeString(leaf)
			if err != nil {
				continue
			}
			for i := 0; i+4 <= len(raw); i += 4 {
				binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(x)))
			}
			out = append(out, base64.StdEncoding.EncodeToString(raw))
		}
		return append(out, "", "!")
	}
	return nil
}

// What a model takes back it can go on with, whatever stands in it: no panic, no NaN, and a snapshot again.
func TestAutoRefusesAnInsaneState(t *testing.T) {
	f := func(name string, after, step int) {
		m := &detectors.Auto{}
		next := func(m *detectors.Auto, i int, x float64) detectors.Verdict {
			return m.Observe(detectors.Point{At: start().Add(time.Duration(i*step) * time.Second), Value: x})
		}
		xs := noise(1, after+200, 100, 1)
		for i, x := range xs[:after] {
			next(m, i, x)
		}
		snap, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		type change struct {
			path  []any
			value any
		}
		var all []change
		edited(t, snap, func(state any) {
			leaves(state, nil, func(path []any, leaf any) {
				for _, value := range insane(leaf) {
					all = append(all, change{path, value})
				}
			})
		})
		refused := 0
		for _, c := range all {
			b := edited(t, snap, func(state any) { put(state, c.path, c.value) })
			m := &detectors.Auto{}
			if err := m.Restore(b); err != nil {
				if refused++; !errors.Is(err, detectors.ErrSnapshot) {
					t.Fatalf("%s: %v is %v: %v", name, c.path, c.value, err)
				}
				continue
			}
			for i, x := range xs[after:] {
				if v := next(m, after+i, x); detectortest.Check(v) != "" {
					t.Fatalf("%s: %v is %v: %s: %+v", name, c.path, c.value, detectortest.Check(v), v)
				}
			}
			if _, err := m.Snapshot(); err != nil {
				t.Fatalf("%s: %v is %v: %v", name, c.path, c.value, err)
			}
		}
		if refused < len(all)/4 {
			t.Errorf("%s: of %d insane states only %d were refused", name, len(all), refused)
		}
	}
	f("before the interval is known", 5, 10)
	f("while it warms up", 40, 10)
	f("at the first estimates", 100, 10)
	f("after three days", 3*288+7, 300)
}

// What any points lead to is taken back.
func TestAutoTakesBackWhateverItLearned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, s := &detectors.Auto{}, &detectors.Service{}
		xs := rapid.SliceOfN(wild(), 1, 250).Draw(t, "xs")
		step := rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Second, time.Hour, 1000 * time.Hour}).Draw(t, "step")
		for i := range 4 * len(xs) {
			x, at := xs[i%len(xs)], start().Add(time.Duration(i)*step)
			m.Observe(detectors.Point{At: at, Value: x})
			s.Observe(at, []float64{x, float64(i % 7)})
		}
		for _, m := range []interface {
			Snapshot() ([]byte, error)
			Restore([]byte) error
		}{m, s} {
			snap, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Restore(snap); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Rows beyond 2^32 are counted as the ones before.
func TestAutoCountsOn(t *testing.T) {
	young, old := &detectors.Auto{}, &detectors.Auto{}
	xs := noise(1, 76_000, 100, 1) // more than a week of them, so that it counts no more how long the past is
	feed(young, 0, xs[:70_000]...)
	snap, err := young.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	const more = 1<<32 - 72_000 // the rows pass 2^32 in what follows
	if err := old.Restore(edited(t, snap, func(state any) {
		for _, name := range []string{"Odd", "Shown", "Stands"} {
			k := state.(map[string]any)[name].(map[string]any)
			rows, err := k["Rows"].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			last, err := k["Last"].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			from, err := k["From"].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			k["Rows"], k["Last"], k["From"] = rows+more, last+more, max(from, 96)+more // peaks begin behind 96 rows
		}
	})); err != nil {
		t.Fatal(err)
	}
	for i, x := range xs[70_000:] {
		if a, b := feed(young, 70_000+i, x)[0], feed(old, 70_000+i, x)[0]; a != b {
			t.Fatalf("point %d:\n%+v\n%+v", i, a, b)
		}
	}
}

// A snapshot of before its form changed is refused, and the error says why.
func TestAutoRefusesAnOlderSnapshot(t *testing.T) {
	m := &detectors.Auto{}
	feed(m, 0, noise(1, 100, 100, 1)...)
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.Replace(snap, []byte(`"version":4`), []byte(`"version":3`), 1)
	if err := m.Restore(old); !errors.Is(err, detectors.ErrSnapshot) || !strings.Contains(err.Error(), "version 3, want 4") {
		t.Fatalf("an older snapshot: %v", err)
	}
}
