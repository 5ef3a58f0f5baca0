package detect_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// replicas draws different names.
func replicas(t *rapid.T, least int) []string {
	return rapid.SliceOfNDistinct(rapid.StringN(1, 20, -1), least, 7, rapid.ID[string]).Draw(t, "replicas")
}

func TestShareIsAgreedUpon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		watch, all := rapid.String().Draw(t, "watch"), replicas(t, 1)
		got := detect.Share(watch, all)
		if !slices.Contains(all, got) {
			t.Fatalf("%q is none of %q", got, all)
		}
		other := rapid.Permutation(all).Draw(t, "order")
		if again := detect.Share(watch, append(other, all...)); again != got {
			t.Fatalf("%q in one order, %q in another", got, again)
		}
	})
}

// Only the watches of a replica that goes move, and, read the other way round, they move only to one that comes.
func TestShareMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := replicas(t, 2)
		gone := rapid.IntRange(0, len(all)-1).Draw(t, "gone")
		left := slices.Delete(slices.Clone(all), gone, gone+1)
		for i := range 50 {
			watch := fmt.Sprint("watch-", i)
			before, after := detect.Share(watch, all), detect.Share(watch, left)
			if before != all[gone] && after != before {
				t.Fatalf("%s moved from %q to %q, though %q went", watch, before, after, all[gone])
			}
		}
	})
}

func TestShareIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := replicas(t, 1)
		const watches = 2000
		got := map[string]int{}
		for i := range watches {
			got[detect.Share(fmt.Sprint("watch-", i), all)]++
		}
		p := 1 / float64(len(all))
		bound := 6 * math.Sqrt(watches*p*(1-p)) // six standard deviations of throwing dice
		for _, replica := range all {
			if math.Abs(float64(got[replica])-watches*p) > bound {
				t.Fatalf("%q has %d of %d watches among %d", replica, got[replica], watches, len(all))
			}
		}
	})
}

func TestShareOfNobody(t *testing.T) {
	if got := detect.Share("w", nil); got != "" {
		t.Errorf("got %q", got)
	}
	// Replicas of different versions must agree: the answer for these names never changes.
	if got := detect.Share("checkout-errors", []string{"a", "b", "c"}); got != "c" {
		t.Errorf("got %q", got)
	}
}
