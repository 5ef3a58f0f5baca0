package seriescapprocessor

import (
	"hash/maphash"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// point is what all kinds of data points have in common.
type point interface {
	Attributes() pcommon.Map
	Flags() pmetric.DataPointFlags
}

// entry is what is kept of a series: 8 bytes, beside a hash of 8. Text is not kept. With the free places of a Go map
// that is at most 40 bytes a series, and a map never shrinks: it stays below 40 bytes times the cap.
type entry struct {
	seen uint32 // seconds since the start
	size uint32 // series in the store
}

// ledger holds who is alive. Two series of one hash count as one; among a million the chance of such a pair is
// 3 in 100 million, and it costs one series over the cap.
type ledger struct {
	most   int
	expire time.Duration
	seed   maphash.Seed
	start  time.Time // zero until the first look
	swept  time.Time
	by     map[uint64]entry
	size   int // sum of all sizes
}

func newLedger(most int, expire time.Duration) *ledger {
	return &ledger{most: most, expire: expire, seed: maphash.MakeSeed(), by: map[uint64]entry{}}
}

// sweepEvery is how many times within its expiry a series is looked at.
const sweepEvery = 10

// sweep lets those go that were not written for long. It costs a walk over all of them, so it is done now and then.
func (g *ledger) sweep(now time.Time) {
	if g.start.IsZero() {
		g.start, g.swept = now, now
	}
	if now.Sub(g.swept) < g.expire/sweepEvery {
		return
	}
	g.swept = now
	limit := int64(now.Sub(g.start)/time.Second) - int64(g.expire/time.Second)
	for key, e := range g.by {
		if int64(e.seen) < limit {
			g.size -= int(e.size)
			delete(g.by, key)
		}
	}
}

// admit reports whether a series of so many series in the store may pass.
func (g *ledger) admit(key uint64, size int, now time.Time) bool {
	grown := size - int(g.by[key].size)
	if grown > 0 && g.size+grown > g.most {
		return false
	}
	g.size += grown
	g.by[key] = entry{seen: uint32(now.Sub(g.start) / time.Second), size: uint32(size)}
	return true
}

// end gives the place of a series free, and reports whether it had one.
func (g *ledger) end(key uint64) bool {
	e, ok := g.by[key]
	if ok {
		g.size -= int(e.size)
		delete(g.by, key)
	}
	return ok
}

// named mixes the name of a metric into the hash of its resource.
func (g *ledger) named(resource uint64, name string) uint64 {
	return mix(maphash.String(g.seed, name)) + mix(resource)
}

// attributes is a hash that does not depend on the order.
func (g *ledger) attributes(m pcommon.Map) uint64 {
	var sum uint64
	for k, v := range m.All() {
		var text string
		if v.Type() == pcommon.ValueTypeStr {
			text = v.Str()
		} else {
			text = v.AsString()
		}
		sum += mix(maphash.String(g.seed, k) ^ mix(maphash.String(g.seed, text)))
	}
	return sum
}

// mix is the finalizer of MurmurHash3 (Austin Appleby, public domain): without it sums of hashes would meet.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
