package heartbeat

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Slots is how many canaries of an origin there are. Each beat writes the one of its seq, so that a row lives for so many beats.
const Slots = 10

// Canary is a row whose value follows from the rest of it: whoever reads it can tell by himself whether it is what was written.
type Canary struct {
	Origin     string
	Slot       int64 // Seq modulo Slots
	Epoch, Seq int64
	Value      string
}

// Canary is the canary that is written with a beat.
func (b Beat) Canary() Canary {
	c := Canary{Origin: b.Origin, Slot: b.Seq % Slots, Epoch: b.Epoch, Seq: b.Seq}
	c.Value = c.value()
	return c
}

func (c Canary) value() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", c.Origin, c.Epoch, c.Seq))
	return hex.EncodeToString(sum[:8])
}

// sound reports whether the row can have been written by its origin.
func (c Canary) sound() bool {
	return c.Slot == c.Seq%Slots && c.Value == c.value()
}

// Canaries compares the canaries of one origin with what they must be. The zero value has compared none.
type Canaries struct {
	Checked, Diverged int64 // rows
	told              map[int64]version
	began             time.Time
	armed             bool // all rows were right once
}

// version is a row that must be there, or that is.
type version struct{ epoch, seq int64 }

// settling is how long the rows may be wrong before they were right for the first time: a copy that is just being made gets its
// tables one after the other.
const settling = time.Minute

// Check compares the rows of an origin with its beat, which was written as one with them and read in the same moment. A beat
// writes one canary and none is left out, so of the beat's epoch the newest Slots must be there; a slot that this epoch has not
// come to may be empty or of an older epoch. A row that is wrong is counted once for each beat that should have put it right.
func (c *Canaries) Check(beat Beat, rows []Canary, at time.Time) {
	if c.told == nil {
		c.told, c.began = map[int64]version{}, at
	}
	wrong, checked := diverged(beat, rows)
	c.Checked += checked
	c.armed = c.armed || len(wrong) == 0
	if !c.armed && at.Sub(c.began) < settling {
		return
	}
	for slot, want := range wrong {
		if told, ok := c.told[slot]; !ok || told != want {
			c.told[slot] = want
			c.Diverged++
		}
	}
}

// diverged are the slots whose rows are not what they must be, with what must be there.
func diverged(beat Beat, rows []Canary) (wrong map[int64]version, checked int64) {
	wrong = map[int64]version{}
	bySlot := map[int64][]Canary{}
	for _, r := range rows {
		switch {
		case r.Origin != beat.Origin:
		case r.Slot < 0 || r.Slot >= Slots:
			wrong[r.Slot] = version{r.Epoch, r.Seq} // nobody writes such a row
		default:
			bySlot[r.Slot] = append(bySlot[r.Slot], r)
		}
	}
	for slot := range int64(Slots) {
		want, found := version{beat.Epoch, beat.Seq - (beat.Seq-slot+Slots)%Slots}, bySlot[slot]
		good := false
		switch due := want.seq >= 1; {
		case !due && len(found) == 0:
			continue
		case !due:
			good = found[0].sound() && found[0].Epoch < beat.Epoch
		default:
			good = len(found) == 1 && found[0].sound() && found[0].Epoch == want.epoch && found[0].Seq == want.seq
		}
		checked++
		if !good {
			wrong[slot] = want
		}
	}
	return wrong, checked
}

// Text is "<seq> <epoch> <value>".
func (c Canary) Text() string { return fmt.Sprintf("%d %d %s", c.Seq, c.Epoch, c.Value) }

// ParseCanary reads what Text writes. What cannot be read is a row that nobody wrote: it is there, and wrong.
func ParseCanary(origin string, slot int64, text string) Canary {
	c := Canary{Origin: origin, Slot: slot, Epoch: -1}
	var seq, epoch int64
	var value string
	if n, err := fmt.Sscanf(text, "%d %d %s", &seq, &epoch, &value); err == nil && n == 3 {
		c.Seq, c.Epoch, c.Value = seq, epoch, value
	}
	return c
}
