package ingest

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// seriesLimit bounds how many different series one credential writes in a day, with a Bloom filter whose bits
// for one series lie in one word: it never forgets a series that it let in, and takes about one new series in
// thirty for a known one when it is full. The filter is made when the first series comes.
type seriesLimit struct {
	limit int
	seed  maphash.Seed
	bits  atomic.Pointer[filter] // of today
	mu    sync.Mutex
	count int
}

type filter struct {
	day   int64
	words []atomic.Uint64
}

const bitsPerSeries = 16

func newSeriesLimit(limit int) *seriesLimit {
	return &seriesLimit{limit: limit, seed: maphash.MakeSeed()}
}

// hash identifies a series.
func (s *seriesLimit) hash(name string, labels []core.Label) uint64 {
	h := maphash.String(s.seed, name)
	for i := range labels {
		h = h*0x9e3779b97f4a7c15 ^ maphash.String(s.seed, labels[i].Name)
		h = h*0x9e3779b97f4a7c15 ^ maphash.String(s.seed, labels[i].Value)
	}
	return h ^ h>>29
}

// admit reports whether the series is known or there is room for one more.
func (s *seriesLimit) admit(h uint64, now time.Time) bool {
	day := now.Unix() / 86400
	f := s.bits.Load()
	if f == nil || f.day != day {
		f = s.renew(day)
	}
	word := &f.words[(h>>18)%uint64(len(f.words))]
	mask := uint64(1)<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63)
	if word.Load()&mask == mask {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if word.Load()&mask == mask {
		return true
	}
	if s.count >= s.limit {
		return false
	}
	word.Or(mask)
	s.count++
	return true
}

// renew starts the filter of a new day.
func (s *seriesLimit) renew(day int64) *filter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.bits.Load(); f != nil && f.day == day {
		return f
	}
	f := &filter{day: day, words: make([]atomic.Uint64, s.limit*bitsPerSeries/64+1)}
	s.count = 0
	s.bits.Store(f)
	return f
}
