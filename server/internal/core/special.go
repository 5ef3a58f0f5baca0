package core

import "time"

// SpecialTime is a time on the calendar that is not like others, while it is on.
type SpecialTime struct {
	Name     string    `json:"name"`
	Sites    []string  `json:"sites"` // where it is on
	Until    time.Time `json:"until"` // when it is over everywhere
	Sentence string    `json:"sentence"`
}
