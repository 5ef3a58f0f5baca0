package detectors_test

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

func ExampleRobustZ() {
	m := &detectors.RobustZ{MinPoints: 5, AbsoluteFloor: 0.5, Direction: detectors.Above}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, errorsPerSecond := range []float64{0, 0.2, 0, 0.1, 0, 0.3, 12.5} {
		v := m.Observe(detectors.Point{At: at, Value: errorsPerSecond})
		fmt.Println(v.State, "-", v.Explain())
		at = at.Add(10 * time.Second)
	}
	// Output:
	// warming - 0, warming up: 0 of 5 points
	// warming - 0.2, warming up: 1 of 5 points
	// warming - 0, warming up: 2 of 5 points
	// warming - 0.1, warming up: 3 of 5 points
	// warming - 0, warming up: 4 of 5 points
	// normal - 0.3 is inside -2.5 to 2.5 (expected 0, 0.6 scales of 0.5 away, scale from the absolute floor of 5 points)
	// anomalous - 12.5 is above -2.45 to 2.55 (expected 0.05, 24.9 scales of 0.5 away, scale from the absolute floor of 6 points)
}

func ExampleThreshold() {
	m := &detectors.Threshold{Limit: 5, Direction: detectors.Above, TriggerPoints: 2}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, lag := range []float64{1, 7, 8} {
		v := m.Observe(detectors.Point{At: at, Value: lag})
		fmt.Println(v.State, "-", v.Explain())
		at = at.Add(10 * time.Second)
	}
	// Output:
	// normal - 1 is inside the limit 5
	// normal - 7 is outside the limit 5, not yet for enough points
	// anomalous - 8 is above the limit 5
}
