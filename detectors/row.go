package detectors

import "time"

// RowModel judges several series that should move together, such as the same figure of each site, by one row of
// values at a time. What a Model promises of points and verdicts it promises of rows.
type RowModel interface {
	// Observe judges the values of one time and learns from them. The i-th value is always of the same series;
	// NaN says that it has none, and a shorter row that the others have none. A row longer than any before
	// brings new series. The row is not kept. The verdicts, one a value, are the model's own and stand until the
	// next call; after a row of the same length nothing is allocated.
	Observe(at time.Time, values []float64) []Verdict
	// Snapshot, Restore and Validate are those of Model.
	Snapshot() ([]byte, error)
	Restore([]byte) error
	Validate() error
}
