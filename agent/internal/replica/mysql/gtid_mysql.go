package mysql

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// span is an interval of transaction numbers, both ends in it.
type span struct{ first, last int64 }

// gtidSet is a MySQL GTID set: for each uuid, or uuid:tag from version 8.3 on, its spans, ascending and apart.
type gtidSet map[string][]span

// parseGTIDSet reads uuid[:tag]:interval[:interval]... with commas between uuids, as in gtid_executed. The empty text is
// the empty set.
func parseGTIDSet(text string) (gtidSet, error) {
	set := gtidSet{}
	if strings.TrimSpace(text) == "" {
		return set, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		parts := strings.Split(strings.TrimSpace(one), ":")
		uuid := strings.ToLower(strings.TrimSpace(parts[0]))
		if !isUUID(uuid) || len(parts) < 2 {
			return nil, fmt.Errorf("gtid set %.60q is not uuid:interval", one)
		}
		key, open := uuid, true // open: no interval of key was seen yet
		for _, part := range parts[1:] {
			part = strings.TrimSpace(part)
			if isTag(part) {
				key, open = uuid+":"+strings.ToLower(part), true
				continue
			}
			s, err := parseSpan(part)
			if err != nil {
				return nil, fmt.Errorf("gtid set %.60q: %w", one, err)
			}
			set[key], open = append(set[key], s), false
		}
		if open {
			return nil, fmt.Errorf("gtid set %.60q ends without an interval", one)
		}
	}
	for key, spans := range set {
		set[key] = tidy(spans)
	}
	return set, nil
}

// transaction is the key of one in a set, and its number.
type transaction struct {
	key string
	n   int64
}

// parseGTID reads uuid[:tag]:number. What a server says of no transaction, or of one without a GTID, is none.
func parseGTID(text string) (transaction, bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return transaction{}, false
	}
	n, err := strconv.ParseInt(text[i+1:], 10, 64)
	return transaction{strings.ToLower(text[:i]), n}, err == nil && n > 0 && n < math.MaxInt64
}

// has tells whether a transaction is in g.
func (g gtidSet) has(one transaction) bool {
	return slices.ContainsFunc(g[one.key], func(s span) bool { return s.first <= one.n && one.n <= s.last })
}

// with is g and one more transaction.
func (g gtidSet) with(one transaction) gtidSet {
	out := maps.Clone(g)
	out[one.key] = tidy(append(slices.Clone(g[one.key]), span{one.n, one.n}))
	return out
}

// lacks are the first transactions of want that are not in g, one for each key.
func (g gtidSet) lacks(want gtidSet) []transaction {
	var out []transaction
	for _, key := range slices.Sorted(maps.Keys(want)) {
		for _, s := range want[key] {
			next := s.first
			for _, h := range g[key] {
				if h.first <= next && next <= h.last {
					next = h.last + 1
				}
			}
			if next <= s.last {
				out = append(out, transaction{key, next})
				break
			}
		}
	}
	return out
}

// holes tells that of a key of received a transaction is missing in g and a later one is not, also where that one came after
// received was read.
func (g gtidSet) holes(received gtidSet) bool {
	want := gtidSet{}
	for key, spans := range received {
		if have := g[key]; len(have) > 0 && len(spans) > 0 {
			want[key] = spans
			if end, top := spans[len(spans)-1].last, have[len(have)-1].last; top > end {
				want[key] = append(slices.Clone(spans), span{end + 1, top})
			}
		}
	}
	return slices.ContainsFunc(g.lacks(want), func(first transaction) bool {
		have := g[first.key]
		return have[len(have)-1].last > first.n
	})
}

func parseSpan(text string) (span, error) {
	first, last, isRange := strings.Cut(text, "-")
	a, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return span{}, fmt.Errorf("interval: %w", err)
	}
	b := a
	if isRange {
		if b, err = strconv.ParseInt(last, 10, 64); err != nil {
			return span{}, fmt.Errorf("interval: %w", err)
		}
	}
	if a < 1 || b < a || b == math.MaxInt64 {
		return span{}, fmt.Errorf("interval %d-%d is not ascending from 1", a, b)
	}
	return span{a, b}, nil
}

// isUUID allows only 8-4-4-4-12 hexadecimal digits, in lower case.
func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range []byte(text) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", rune(c)) {
				return false
			}
		}
	}
	return true
}

// isTag tells a tag from an interval: a tag begins with a letter or an underscore.
func isTag(text string) bool {
	if text == "" || len(text) > 32 {
		return false
	}
	for i, c := range []byte(text) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// tidy sorts spans and joins those that touch.
func tidy(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	out := spans[:1]
	for _, s := range spans[1:] {
		if newest := &out[len(out)-1]; s.first <= newest.last+1 {
			newest.last = max(newest.last, s.last)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// missing is how many transactions of want are not in g.
func (g gtidSet) missing(want gtidSet) int64 {
	var sum int64
	for key, spans := range want {
		have := g[key]
		for _, s := range spans {
			next := s.first
			for _, h := range have {
				if h.last < next {
					continue
				}
				if h.first > s.last {
					break
				}
				if h.first > next {
					sum = plus(sum, h.first-next)
				}
				next = h.last + 1
			}
			if next <= s.last {
				sum = plus(sum, s.last-next+1)
			}
		}
	}
	return sum
}

// plus adds without running over.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
