package core

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Said is what a person says of an alarm or an episode: whether it was right.
type Said string

// What can be said. Unsure takes back what the same person said before, and counts for nothing.
const (
	SaidTrue   Said = "true"
	SaidFalse  Said = "false"
	SaidUnsure Said = "unsure"
)

// Bounds of a word.
const (
	FeedbackNote = 500            // bytes
	FeedbackEdge = time.Minute    // how far ahead of the server's clock an onset may lie
	FeedbackKept = 24 * time.Hour // for how long a server tells of an alarm that is over
)

// Alarm is a series that a detector found odd, from its onset on.
type Alarm struct {
	ID       string    `json:"id"` // AlarmID
	Watch    string    `json:"watch"`
	Series   string    `json:"series"`
	Site     string    `json:"site"`
	Class    Class     `json:"class"`
	Onset    time.Time `json:"onset"`
	Last     time.Time `json:"last"` // when it was seen last
	Over     bool      `json:"over"` // it is not seen now
	Sentence string    `json:"sentence"`
}

// NewestAlarm orders alarms: those that are on come first, then the newest.
func NewestAlarm(a, b Alarm) int {
	if a.Over != b.Over {
		if a.Over {
			return 1
		}
		return -1
	}
	return cmp.Or(b.Onset.Compare(a.Onset), strings.Compare(a.ID, b.ID))
}

// AlarmID derives the id of an alarm of a watch from its series, as sentences call it, and its onset.
func AlarmID(watch, series string, onset time.Time) string {
	return derive("alm_", watch, series, strconv.FormatInt(onset.UnixMilli(), 10))
}

// Feedback is one word of a person about an alarm of a watch or about an episode. Words are never changed: the last one of each
// person counts, the others are its history.
type Feedback struct {
	About     string    `json:"about"` // the id of the alarm or of the episode
	EpisodeID string    `json:"episode_id,omitempty"`
	Watch     string    `json:"watch,omitempty"`
	Series    string    `json:"series,omitempty"`
	Onset     time.Time `json:"onset,omitzero"`
	Label     Said      `json:"label"`
	Note      string    `json:"note,omitempty"`
	By        string    `json:"by"` // whose token it was
	At        time.Time `json:"at"`
	N         int       `json:"n"` // it is the person's n-th word about it, from 1
}

// Check reports what is wrong with a word said at a time; nil or an *Error with CodeInvalid.
func (f Feedback) Check(at time.Time) error {
	bad := func(message, hint string) error { return &Error{Code: CodeInvalid, Message: message, Hint: hint} }
	switch alarm := f.Watch != "" || f.Series != "" || !f.Onset.IsZero(); {
	case f.Label != SaidTrue && f.Label != SaidFalse && f.Label != SaidUnsure:
		return bad("there is no label "+strconv.Quote(string(f.Label)), "say true, false or unsure")
	case len(f.Note) > FeedbackNote:
		return bad("the note is longer than "+strconv.Itoa(FeedbackNote)+" bytes", "say it shorter, or say where to read more")
	case alarm == (f.EpisodeID != ""):
		return bad("it must be about either an episode or an alarm", "give episode_id, or watch, series and onset")
	case alarm && (f.Watch == "" || f.Series == "" || f.Onset.IsZero()):
		return bad("an alarm is named by watch, series and onset", "take them from GET /alarms, or evenkeel-server feedback alarms")
	case f.Onset.After(at.Add(FeedbackEdge)):
		return bad("the alarm has not begun yet", "give the onset of an alarm that was raised")
	}
	return nil
}

// Same says whether it is a repetition of another word of the same person about the same.
func (f Feedback) Same(as Feedback) bool { return f.Label == as.Label && f.Note == as.Note }

// LastWords are the last word of each person about each alarm and episode, the newest first.
func LastWords(all []Feedback) []Feedback {
	type person struct{ about, by string }
	last := map[person]Feedback{}
	for _, f := range all {
		if p := (person{f.About, f.By}); f.N > last[p].N {
			last[p] = f
		}
	}
	out := make([]Feedback, 0, len(last))
	for _, f := range last {
		out = append(out, f)
	}
	slices.SortFunc(out, NewestWord)
	return out
}

// NewestWord orders words, the newest first.
func NewestWord(a, b Feedback) int {
	return cmp.Or(b.At.Compare(a.At), strings.Compare(a.About, b.About), strings.Compare(a.By, b.By), cmp.Compare(b.N, a.N))
}

// Precision is how often the alarms of a watch, or the episodes, were right by what people say of them. It moves no threshold.
type Precision struct {
	Watch string `json:"watch,omitempty"` // empty: episodes
	// True, False and Unsure are alarms, by what most of those say who are sure; Unsure are those of which as many say the one as the other.
	True   int `json:"true"`
	False  int `json:"false"`
	Unsure int `json:"unsure"`
	Labels int `json:"labels"` // last words of persons that these rest on
	// Precision is the share of the true among those that are true or false, and Lower to Upper what it may be with a confidence of
	// 90 %; absent while there is none.
	Precision *float64 `json:"precision,omitempty"`
	Lower     *float64 `json:"lower,omitempty"`
	Upper     *float64 `json:"upper,omitempty"`
}

// Verdicts are what most of those say who are sure, by the id of the alarm or episode; SaidUnsure of those of which as many say the one as the other.
func Verdicts(all []Feedback) map[string]Said { return verdicts(LastWords(all)) }

func verdicts(last []Feedback) map[string]Said {
	sure := map[string]int{} // those who say true without those who say false
	for _, f := range last {
		switch f.Label {
		case SaidTrue:
			sure[f.About]++
		case SaidFalse:
			sure[f.About]--
		case SaidUnsure:
			sure[f.About] += 0
		}
	}
	out := make(map[string]Said, len(sure))
	for about, n := range sure {
		switch {
		case n > 0:
			out[about] = SaidTrue
		case n < 0:
			out[about] = SaidFalse
		default:
			out[about] = SaidUnsure
		}
	}
	return out
}

// Precisions count what people say: one for each of the watches and each other that words are about, by name, and one of
// episodes, which comes first. The shares are left to the caller.
func Precisions(all []Feedback, watches []string) []Precision {
	last := LastWords(all)
	watch := map[string]string{} // of each alarm
	by := map[string]*Precision{"": {}}
	for _, w := range watches {
		by[w] = &Precision{Watch: w}
	}
	for _, f := range last {
		if by[f.Watch] == nil {
			by[f.Watch] = &Precision{Watch: f.Watch}
		}
		by[f.Watch].Labels++
		if _, ok := watch[f.About]; !ok {
			watch[f.About] = f.Watch
		}
	}
	for about, said := range verdicts(last) {
		switch p := by[watch[about]]; said {
		case SaidTrue:
			p.True++
		case SaidFalse:
			p.False++
		default:
			p.Unsure++
		}
	}
	out := make([]Precision, 0, len(by))
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Precision) int { return strings.Compare(a.Watch, b.Watch) })
	return out
}
