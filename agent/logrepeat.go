package main

import (
	"hash/maphash"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// scraperType is the component that tells of each target that is away at each scrape. Whether it is up is a metric.
const scraperType = "prometheus"

const (
	repeatAfter  = 10 * time.Minute
	repeatMemory = 512 // lines; at more of them all may be said again
	whenKey      = "scrape_timestamp"
)

// repeats remembers what was said lately. It is safe for concurrent use.
type repeats struct {
	mu   sync.Mutex
	seed maphash.Seed
	at   map[uint64]time.Time
}

func newRepeats() *repeats { return &repeats{seed: maphash.MakeSeed(), at: map[uint64]time.Time{}} }

// lately reports whether the same was said within ten minutes, apart from its time; if not it is noted.
func (r *repeats) lately(entry zapcore.Entry, fields []zapcore.Field) bool {
	if r == nil {
		return false
	}
	flat := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		if f.Key != whenKey {
			f.AddTo(flat)
		}
	}
	key := maphash.String(r.seed, entry.Message)
	for name, value := range flat.Fields {
		if text, ok := value.(string); ok {
			key += maphash.String(r.seed, name+"\x00"+text)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.at[key]; ok && entry.Time.Sub(at) < repeatAfter {
		return true
	}
	if len(r.at) >= repeatMemory {
		clear(r.at)
	}
	r.at[key] = entry.Time
	return false
}
