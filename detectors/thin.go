package detectors

import "slices"

// thinSize is how many values a thin keeps.
const thinSize = 64

// thin keeps up to 64 of any number of values, evenly spread over all of them: every one, then every second,
// fourth and so on. It gives quantiles of a stretch of a series without keeping the stretch.
type thin struct {
	Seen   int
	Every  int
	Values []float64 `json:",omitempty"`
}

func (t *thin) ready() {
	if cap(t.Values) < thinSize {
		t.Values = append(make([]float64, 0, thinSize), t.Values...)
	}
}

func (t *thin) reset() { *t = thin{Values: t.Values[:0]} }

func (t *thin) usable() bool {
	return t.Seen >= len(t.Values) && len(t.Values) <= thinSize && t.Every >= 0 && (t.Every > 0) == (t.Seen > 0)
}

func (t *thin) add(x float64) {
	t.Every = max(1, t.Every)
	if t.Seen%t.Every == 0 {
		if len(t.Values) == thinSize {
			for i := range thinSize / 2 {
				t.Values[i] = t.Values[2*i]
			}
			t.Values = t.Values[:thinSize/2]
			t.Every *= 2
		}
		if t.Seen%t.Every == 0 {
			t.Values = append(t.Values, x)
		}
	}
	t.Seen++
}

// sort puts the values in order; nothing may be added after it until reset.
func (t *thin) sort() { slices.Sort(t.Values) }

// quantile of the sorted values, of which there must be some.
func (t *thin) quantile(q float64) float64 {
	return t.Values[min(len(t.Values)-1, int(q*float64(len(t.Values))))]
}

// median of the sorted values, of which there must be some.
func (t *thin) median() float64 {
	n := len(t.Values)
	return middle(t.Values[(n-1)/2], t.Values[n/2])
}
