package postgresql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LSN is a position in the write-ahead log. 0 is invalid: it stands for no position.
type LSN uint64

// ParseLSN reads the server's own form, two hexadecimal halves with a slash between.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	if !found || len(high) > 8 || len(low) > 8 {
		return 0, fmt.Errorf("read a log position: want two hexadecimal halves, got %d bytes", len(text))
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("read the high half of a log position: %w", err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("read the low half of a log position: %w", err)
	}
	return LSN(h<<32 | l), nil
}

func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Scan reads an LSN that the query cast to text.
func (l *LSN) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("read a log position: want text, got %T", value)
	}
	parsed, err := ParseLSN(text)
	*l = parsed
	return err
}

// behind is how much of to is not in from yet; never negative.
func behind(from, to LSN) int64 {
	if to <= from {
		return 0
	}
	return int64(to - from)
}

// mark says that pos was the newest position from first to last.
type mark struct {
	first, last time.Time
	pos         uint64
}

// marks is when which position was the newest one at a source. It turns a position into a time with the clock that stamped
// the marks. It grows with pos; its length is bounded, and what is thinned out only widens the bounds.
type marks []mark

const maxMarks = 512

// add returns the marks with one more: pos was the newest position from first (when it was told first) to last. A position
// below the newest one is another history, which begins anew.
func (m marks) add(first, last time.Time, pos uint64) marks {
	n := len(m)
	switch {
	case n > 0 && pos < m[n-1].pos:
		m = nil
	case n > 0 && pos == m[n-1].pos:
		out := slices.Clone(m)
		if last.After(out[n-1].last) {
			out[n-1].last = last
		}
		return out
	case n >= maxMarks:
		// The older half gets coarser, the newer half stays exact.
		var thin marks
		for i := range m {
			if i >= n/2 || i%2 == 0 {
				thin = append(thin, m[i])
			}
		}
		m = thin
	}
	return append(slices.Clip(m), mark{first, last, pos})
}

// complete is the newest time whose position is no more than pos: all that was committed before it is at pos.
func (m marks) complete(pos uint64) (time.Time, bool) {
	for _, k := range slices.Backward(m) {
		if k.pos <= pos {
			return k.last, true
		}
	}
	return time.Time{}, false
}

// missing is the oldest time whose position is at least pos: it existed then.
func (m marks) missing(pos uint64) (time.Time, bool) {
	for _, k := range m {
		if k.pos >= pos {
			return k.first, true
		}
	}
	return time.Time{}, false
}
