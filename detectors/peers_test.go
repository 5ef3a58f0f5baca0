package detectors_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

func ExamplePeers() {
	m := &detectors.Peers{Ratio: true, Direction: detectors.Below} // requests of three sites
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	row := func(i int) []float64 {
		shared := 100 + 50*math.Sin(float64(i)/50)
		return []float64{shared + float64(i%3), 2*shared + float64(i%5), shared/2 + float64(i%2)}
	}
	for i := range 300 {
		m.Observe(at.Add(time.Duration(i)*10*time.Second), row(i))
	}
	last := row(300)
	last[1] /= 2 // half of the second site's requests stay away
	for _, v := range m.Observe(at.Add(300*10*time.Second), last) {
		fmt.Println(v.State, "-", v.Explain())
	}
	// Output:
	// normal - 86.03 is inside 76.30 to 97.00 (expected 86.03, 0 scales of 1.721 away, scale from the relative floor of 300 points)
	// anomalous - 86.03 is below 152.6 to 194.0 (expected 172.1, 34.66 scales of 3.441 away, scale from the relative floor of 300 points)
	// normal - 43.01 is inside 38.15 to 48.50 (expected 43.01, 0.002033 scales of 0.8603 away, scale from the relative floor of 300 points)
}

func TestPeersContract(t *testing.T) {
	detectortest.RunRow(t, func() detectors.RowModel { return &detectors.Peers{} })
	detectortest.RunRow(t, func() detectors.RowModel {
		return &detectors.Peers{Ratio: true, Threshold: 4, Direction: detectors.Below, TriggerPoints: 2, AdaptAfter: time.Hour}
	})
}

// sites are rows of some sites that share a daily wave and a size of their own, with noise that remembers.
type sites struct {
	noise [][]float64
	ratio bool
}

func newSites(seed uint64, n, rows int, share float64, ratio bool) sites {
	s := sites{ratio: ratio}
	for i := range n {
		s.noise = append(s.noise, ar1(seed*100+uint64(i), rows, share))
	}
	return s
}

func (s sites) row(i int) []float64 {
	wave := 1000 + 900*math.Sin(2*math.Pi*float64(i)/8640)
	out := make([]float64, len(s.noise))
	for k := range out {
		if s.ratio {
			out[k] = wave * float64(1+3*k) * math.Exp(0.05*s.noise[k][i])
		} else {
			out[k] = wave + 100*float64(k) + s.noise[k][i]
		}
	}
	return out
}

func TestPeersFalseAlarms(t *testing.T) {
	const weeks = 2
	f := func(n int, share float64, ratio bool, limit float64) {
		t.Helper()
		var alarms int
		for seed := range uint64(2) {
			s := newSites(seed, n, weeks*week, share, ratio)
			m := &detectors.Peers{Ratio: ratio, RelativeFloor: -1}
			on := make([]bool, n)
			for i := range weeks * week {
				for k, v := range m.Observe(at(i), s.row(i)) {
					now := v.State == detectors.StateAnomalous
					if now && !on[k] {
						alarms++
					}
					on[k] = now
				}
			}
		}
		rate := float64(alarms) / (2 * weeks)
		t.Logf("%d sites, memory %v, ratio %v: %.2f false alarms a week", n, share, ratio, rate)
		if rate > limit {
			t.Errorf("%d sites, memory %v, ratio %v: %.2f false alarms a week, at most %v are promised", n, share, ratio, rate, limit)
		}
	}
	f(3, 0, false, 0.5)
	f(3, 0.9, false, 1)
	f(3, 0.9, true, 1)
	f(5, 0, true, 0.5)
	f(5, 0.9, false, 1)
}

// learned is a model that has seen so many rows of the sites.
func learned(m *detectors.Peers, s sites, rows int) *detectors.Peers {
	for i := range rows {
		m.Observe(at(i), s.row(i))
	}
	return m
}

func states(vs []detectors.Verdict) string {
	var out []string
	for _, v := range vs {
		out = append(out, v.State.String()+"/"+v.Reason.String())
	}
	return strings.Join(out, " ")
}

// One site parts and is told; all sites move and nothing is.
func TestPeersTellWhoParted(t *testing.T) {
	f := func(n int, change func(row []float64), want string) {
		t.Helper()
		s := newSites(7, n, 1001, 0, true)
		m := learned(&detectors.Peers{Ratio: true}, s, 1000)
		row := s.row(1000)
		change(row)
		vs := m.Observe(at(1000), row)
		for _, v := range vs {
			if bad := detectortest.Check(v); bad != "" {
				t.Fatal(bad)
			}
		}
		if got := states(vs); got != want {
			t.Fatalf("%d sites:\n got %s\nwant %s", n, got, want)
		}
	}
	inside, below, above := "normal/inside", "anomalous/below", "anomalous/above"
	unknown := "unknown/"
	f(3, func([]float64) {}, strings.Join([]string{inside, inside, inside}, " "))
	f(3, func(r []float64) { r[1] /= 2 }, strings.Join([]string{inside, below, inside}, " "))
	f(3, func(r []float64) { r[1] = 0 }, strings.Join([]string{inside, below, inside}, " "))
	f(3, func(r []float64) { r[2] *= 1000 }, strings.Join([]string{inside, inside, above}, " "))
	f(3, func(r []float64) { r[0] = -5 }, strings.Join([]string{below, inside, inside}, " ")) // a counter that was reset
	f(3, func(r []float64) {
		for i := range r {
			r[i] *= 20 // a campaign
		}
	}, strings.Join([]string{inside, inside, inside}, " "))
	f(5, func(r []float64) { r[0], r[4] = r[0]/3, r[4]/3 }, strings.Join([]string{below, inside, inside, inside, below}, " "))
	// With two they differ, and nothing says who is wrong; alone there is nothing to compare with.
	f(3, func(r []float64) { r[2] = math.NaN() }, inside+" "+inside+" "+unknown+"missing")
	f(3, func(r []float64) { r[2], r[1] = math.NaN(), r[1]/2 }, unknown+"either "+unknown+"either "+unknown+"missing")
	f(3, func(r []float64) { r[2], r[1] = math.NaN(), math.Inf(1) }, unknown+"few_peers "+unknown+"not_finite "+unknown+"missing")
	f(3, func(r []float64) { r[0], r[1] = 0, 0 }, unknown+"few_peers "+unknown+"few_peers "+unknown+"few_peers")
}

func TestPeersColdStart(t *testing.T) {
	s := newSites(1, 3, 200, 0, false)
	m := &detectors.Peers{}
	for i := range 100 {
		for _, v := range m.Observe(at(i), s.row(i)) {
			if warm := v.State == detectors.StateWarming; warm != (i < 60) || warm && (v.Points != i || v.Needed != 60) {
				t.Fatalf("row %d: %s", i, v.Explain())
			}
		}
	}
	// A fourth site begins its own warm-up and leaves that of the others alone.
	four := newSites(1, 4, 200, 0, false)
	for i := 100; i < 200; i++ {
		vs := m.Observe(at(i), four.row(i))
		if vs[0].State != detectors.StateNormal || (vs[3].State == detectors.StateWarming) != (i < 160) {
			t.Fatalf("row %d: %s", i, states(vs))
		}
	}
	// Two sites never learn who is who.
	two := &detectors.Peers{}
	for i := range 100 {
		if vs := two.Observe(at(i), s.row(i)[:2]); states(vs) != "unknown/few_peers unknown/few_peers" {
			t.Fatalf("two sites: %s", states(vs))
		}
	}
}

func TestPeersHoldAndAdapt(t *testing.T) {
	s := newSites(3, 3, 6000, 0, true)
	m := learned(&detectors.Peers{Ratio: true, AdaptAfter: time.Hour}, s, 1000)
	var adapted int
	for i := 1000; i < 3000; i++ {
		row := s.row(i)
		row[1] *= 3
		vs := m.Observe(at(i), row)
		if vs[0].State != detectors.StateNormal || vs[2].State != detectors.StateNormal {
			t.Fatalf("row %d: %s", i, states(vs))
		}
		switch v := vs[1]; {
		case v.Reason == detectors.ReasonAdapted:
			adapted = i
		case (adapted > 0) != (v.State == detectors.StateNormal):
			t.Fatalf("row %d: %s", i, v.Explain())
		case adapted == 0 && !v.Since.Equal(at(1000)):
			t.Fatalf("since %v", v.Since)
		}
	}
	if adapted != 1360 {
		t.Fatalf("adapted at row %d", adapted)
	}
}

func TestPeersConstants(t *testing.T) {
	m := &detectors.Peers{}
	zero := []float64{0, 0, 0}
	for i := range 200 {
		for _, v := range m.Observe(at(i), zero) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("zeros: %s", v.Explain())
			}
		}
	}
	if vs := m.Observe(at(200), []float64{0, 3, 0}); states(vs) != "normal/inside anomalous/constant normal/inside" {
		t.Fatalf("the first error: %s", states(vs))
	}
	m = &detectors.Peers{AbsoluteFloor: 1}
	for i := range 200 {
		m.Observe(at(i), zero)
	}
	if vs := m.Observe(at(200), []float64{0, 3, 0}); states(vs) != "normal/inside normal/inside normal/inside" {
		t.Fatalf("an error below the floor: %s", states(vs))
	}
}

func TestPeersSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Float64())
		m := &detectors.Peers{
			Ratio: rapid.Bool().Draw(t, "ratio"), Smallest: odd.Draw(t, "smallest"), Threshold: odd.Draw(t, "threshold"),
			AbsoluteFloor: odd.Draw(t, "absolute"), RelativeFloor: odd.Draw(t, "relative"), Resolution: odd.Draw(t, "resolution"),
			Direction:  detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
			AdaptAfter: rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "adapt"),
		}
		other := *m
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		strange := rapid.SliceOfN(wild(), 1, 40).Draw(t, "strange")
		cut := rapid.IntRange(0, 150).Draw(t, "cut")
		for i := range 150 {
			if i == cut {
				snap, err := m.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				if err := other.Restore(snap); err != nil {
					t.Fatal(err)
				}
			}
			row := make([]float64, 1+r.IntN(4))
			for k := range row {
				row[k] = 10 + r.NormFloat64()
				if r.IntN(10) == 0 {
					row[k] = strange[r.IntN(len(strange))]
				}
			}
			vs := slices.Clone(m.Observe(at(i), row))
			for _, v := range vs {
				if s := detectortest.Check(v); s != "" {
					t.Fatalf("%v: %s: %+v", row, s, v)
				}
			}
			if i >= cut && !slices.Equal(other.Observe(at(i), row), vs) {
				t.Fatalf("row %d differs after a restore", i)
			}
		}
	})
}

// Values as large as numbers can be, beside as many that are one and the same, have a size that is a number too: else nothing could be saved.
func TestLargestValuesCanBeSaved(t *testing.T) {
	m := &detectors.CUSUM{}
	for i := range 40 {
		x := 0.0
		if i%3 == 0 {
			x = math.MaxFloat64
		}
		m.Observe(detectors.Point{At: at(i), Value: x})
	}
	if _, err := m.Snapshot(); err != nil {
		t.Error(err)
	}
}

// The unit of all sites together does not matter, nor does a movement that they share.
func TestPeersEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		s := newSites(rapid.Uint64().Draw(t, "seed"), 3, 200, 0.5, false)
		a, b, c := &detectors.Peers{RelativeFloor: -1}, &detectors.Peers{RelativeFloor: -1}, &detectors.Peers{RelativeFloor: -1}
		for i := range 200 {
			row := s.row(i)
			scaled, shifted := slices.Clone(row), slices.Clone(row)
			for j := range row {
				scaled[j] *= k
				shifted[j] += float64(i * i)
			}
			va, vb, vc := a.Observe(at(i), row), b.Observe(at(i), scaled), c.Observe(at(i), shifted)
			for j := range va {
				if va[j].State != vb[j].State || va[j].Score != vb[j].Score || math.Abs(va[j].Deviation-vc[j].Deviation) > 1e-6 {
					t.Fatalf("row %d: %s, scaled by %v %s, shifted %s", i, va[j].Explain(), k, vb[j].Explain(), vc[j].Explain())
				}
			}
		}
	})
}

func TestPeersValidate(t *testing.T) {
	f := func(m *detectors.Peers, want string) {
		t.Helper()
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("error %v, want it to say %q", err, want)
		}
	}
	f(&detectors.Peers{Smallest: -1}, "above 0 in the unit")
	f(&detectors.Peers{Threshold: math.NaN()}, "0 for 6")
	f(&detectors.Peers{Direction: 9}, "direction 9")
}

func BenchmarkPeers(b *testing.B) {
	for _, n := range []int{3, 10, 50} {
		b.Run(fmt.Sprint(n, " sites"), func(b *testing.B) {
			s := newSites(1, n, 4096, 0, true)
			var rows [][]float64
			for i := range 4096 {
				rows = append(rows, s.row(i))
			}
			m := &detectors.Peers{Ratio: true}
			m.Observe(start().Add(-1), rows[0])
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.Observe(start().Add(time.Duration(i)*time.Second), rows[i%len(rows)])
				i++
			}
		})
	}
}
