package ingest

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// seriesLimit bounds how many different series one credential writes in a day, with a Bloom filter: it never
// forgets a series that it let in, and takes about one new series in a hundred for a known one. The filter is
// made when the first series comes.
type seriesLimit struct {
	limit int
	seed  maphash.Seed

	mu    sync.Mutex
	day   int64
	count int
	bits  []uint64
}

// bitsPerSeries gives, with three probes, a false positive in a hundred when full.
const bitsPerSeries = 10

func newSeriesLimit(limit int) *seriesLimit {
	return &seriesLimit{limit: limit, seed: maphash.MakeSeed()}
}

// hash identifies a series.
func (s *seriesLimit) hash(name string, labels []core.Label) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(name)
	for i := range labels {
		_ = h.WriteByte(0)
		_, _ = h.WriteString(labels[i].Name)
		_ = h.WriteByte(1)
		_, _ = h.WriteString(labels[i].Value)
	}
	return h.Sum64()
}

// admit reports whether the series is known or there is room for one more.
func (s *seriesLimit) admit(h uint64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if day := now.Unix() / 86400; day != s.day || s.bits == nil {
		s.day, s.count = day, 0
		if s.bits == nil {
			s.bits = make([]uint64, s.limit*bitsPerSeries/64+1)
		} else {
			clear(s.bits)
		}
	}
	n := uint64(len(s.bits)) * 64
	step := h>>32 | 1
	fresh := false
	for i := range uint64(3) {
		bit := (h + i*step) % n
		if s.bits[bit/64]&(1<<(bit%64)) == 0 {
			fresh = true
			break
		}
	}
	if !fresh {
		return true
	}
	if s.count >= s.limit {
		return false
	}
	for i := range uint64(3) {
		bit := (h + i*step) % n
		s.bits[bit/64] |= 1 << (bit % 64)
	}
	s.count++
	return true
}
