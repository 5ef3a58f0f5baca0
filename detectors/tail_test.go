package detectors

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func TestTailIsStudentsT(t *testing.T) {
	var worst float64
	for nu := 1.0; nu < 1e5; nu *= 1.3 {
		for z := 0.0; z < 12; z += 0.25 {
			want := min(1, 2*distuv.StudentsT{Sigma: 1, Nu: nu}.CDF(-z))
			if want < 1e-6 {
				break
			}
			worst = max(worst, math.Abs(tail(z, nu)/want-1))
		}
	}
	t.Logf("worst relative error %.4f", worst)
	if worst > 0.03 {
		t.Fatalf("tail is %.1f %% off", 100*worst)
	}
	for _, z := range []float64{1e-300, 1e9, math.MaxFloat64} {
		if p := tail(z, 100); !(p >= 0 && p <= 1) {
			t.Fatalf("tail of %v is %v", z, p)
		}
	}
}
