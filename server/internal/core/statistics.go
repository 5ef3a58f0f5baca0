package core

import "time"

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

// CalibrationWeeks is over how many weeks a Calibration is reckoned.
const CalibrationWeeks = 4

// Calibration is what statistics promise beside what they keep, over the last weeks. False alarms are those of one series of a
// calibrated detector in a week; an alarm that nothing else confirmed counts as one.
type Calibration struct {
	At time.Time `json:"at"`
	// ChancePerYear is how often a year statistics may accuse somebody by chance in the whole installation, and Crossings how often
	// they accused somebody and nothing else confirmed it.
	ChancePerYear float64 `json:"chance_per_year"`
	Crossings     int     `json:"crossings"`
	SeriesWeeks   float64 `json:"series_weeks"` // judged
	Expected      float64 `json:"expected"`     // false alarms in that time, as set
	Counted       int     `json:"counted"`      // false alarms in that time
	Confirmed     int     `json:"confirmed"`    // alarms that something else confirmed
	Nominal       float64 `json:"nominal"`      // false alarms a series and week, as set; 0 while nothing was judged
	// Achieved are the false alarms a series and week that were counted, and Lower to Upper what their mean may be with a confidence of
	// 90 %; absent until Needed were to be expected, for so few say nothing.
	Achieved *float64 `json:"achieved,omitempty"`
	Lower    *float64 `json:"lower,omitempty"`
	Upper    *float64 `json:"upper,omitempty"`
	Needed   float64  `json:"needed"`
}
