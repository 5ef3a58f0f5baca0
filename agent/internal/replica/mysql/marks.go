package mysql

import (
	"slices"
	"time"
)

// mark says: at this time, by the agent's clock, the position was what the marks' owner says of it.
type mark[P any] struct {
	at  time.Time
	pos P
}

// marks are ascending in time and bounded in number.
type marks[P any] []mark[P]

// keepMarks bounds what is remembered of one link.
const keepMarks = 256

// add appends a mark. When there are too many, every second one goes, from the old half on: what is bounded with them
// becomes wider and stays true, since a mark stands for all between it and the one before.
func (m marks[P]) add(at time.Time, pos P) marks[P] {
	m = append(m, mark[P]{at, pos})
	if len(m) <= keepMarks {
		return m
	}
	thin := make(marks[P], 0, keepMarks)
	for i, one := range m {
		if i >= keepMarks/2 || i%2 == 0 {
			thin = append(thin, one)
		}
	}
	return thin
}

// last is the newest mark whose position was reached. What is older than it is of no use any more and is left out of
// rest, which begins with that mark.
func (m marks[P]) last(reached func(P) bool) (at time.Time, rest marks[P], ok bool) {
	for i, one := range slices.Backward(m) {
		if reached(one.pos) {
			return one.at, m[i:], true
		}
	}
	return time.Time{}, m, false
}
