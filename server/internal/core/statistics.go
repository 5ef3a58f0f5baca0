package core

// Reckoning is what came of the alarms that detectors raise, beside what they are set to. It only grows from the start of a
// server on.
type Reckoning struct {
	SeriesWeeks float64 // judged of series whose detector is calibrated
	Expected    float64 // alarms by chance, as their settings allow
	// Confirmed are the alarms near which something else objected too, Unconfirmed the others: so many are false at most, and among
	// the confirmed ones may be some by coincidence.
	Confirmed, Unconfirmed uint64
	Crossings              uint64 // accusations by statistics near which nothing else objected
}
