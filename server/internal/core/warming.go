package core

// Warming is how far a watch has come of which series have too few points yet to be judged. The figures are those of the series that
// takes the longest; Needed is absent while they are not known, as of a watch that another replica asks. Of a watch that has no data any more or
// gets no answer the sentence says since when, or why, and the figures are 0.
type Warming struct {
	Watch    string  `json:"watch"`
	Series   int     `json:"series"` // of the watch
	Warm     int     `json:"warm"`   // of these, how many are judged
	Points   int     `json:"points"`
	Needed   int     `json:"needed,omitempty"`
	ReadyIn  Seconds `json:"ready_in_s,omitempty"` // about, when no point is missing
	Sentence string  `json:"sentence"`
}
