package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// planned is one fault to come.
type planned struct {
	At    time.Duration // since the recording's first step
	Words []string      // as one would type it: fra slow 800ms --for 1m10s
}

// plan is everything that a recording does; it follows from the seed and the length alone.
type plan struct {
	Prefix time.Duration // free of faults: what a detector may learn from
	Faults []planned
	Loads  []float64 // requests per second at the top of the day, one for each step
}

// step is the time between two samples.
const step = 10 * time.Second

// Lengths of faults and of the rest after them. Evaluators forgive alarms up to 70 s after a fault.
const (
	faultLeast, faultMost = 60 * time.Second, 90 * time.Second
	restLeast, restMost   = 80 * time.Second, 120 * time.Second
	pauseLeast, pauseMost = 20 * time.Second, 45 * time.Second
)

// baseLoad is the middle of the loads, in requests per second at the top of the lab's day.
const baseLoad = 75

// strong are the faults that detection is measured by.
func strong() []string {
	return []string{
		"slow 200ms", "slow 400ms", "slow 800ms", "slow 1500ms",
		"errors 4", "errors 10", "errors 30", "errors 80",
		"lag", "lag 1", "lag 3", "lag 5",
	}
}

// other are the remaining ones. A reload and a restart are no faults to users: they are here to be left alone.
func other() []string {
	return []string{
		"kill", "kill-service", "edge", "link", "link --one-way", "pause", "loss 5", "loss 20", "uplink", "reload", "restart",
	}
}

// makePlan draws a plan; share is how many strong faults come for each other one. One quarter is prefix; a tenth in the middle is free of faults as well.
func makePlan(seed uint64, lasts time.Duration, share int, sites []string) plan {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a plan has to come again with its seed
	p := plan{Prefix: (lasts * 23 / 100).Truncate(step)}
	deck := &deck{r: r, share: share}
	clean := lasts / 10
	middle := p.Prefix + (lasts-p.Prefix)/2
	for at := p.Prefix + between(r, 0, restMost-restLeast); ; {
		if clean > 0 && at > middle {
			at, clean = at+clean, 0
		}
		kind := deck.next()
		length := between(r, faultLeast, faultMost)
		if kind == "pause" {
			length = between(r, pauseLeast, pauseMost)
		}
		if at+length+restLeast > lasts {
			break
		}
		p.Faults = append(p.Faults, planned{at, words(r, kind, length, sites)})
		at += length + between(r, restLeast, restMost)
	}
	p.Loads = loads(r, int(lasts/step)+1)
	return p
}

// deck deals its share of strong faults and then another one. Each pile is shuffled, and again when it is used up, so that every
// strength comes as often as the others.
type deck struct {
	r     *rand.Rand
	share int
	n     int
	piles [2][]string
}

func (d *deck) next() string {
	d.n++
	i, full := 0, strong
	if d.n%(d.share+1) == 0 {
		i, full = 1, other
	}
	if len(d.piles[i]) == 0 {
		d.piles[i] = full()
		d.r.Shuffle(len(d.piles[i]), func(a, b int) { d.piles[i][a], d.piles[i][b] = d.piles[i][b], d.piles[i][a] })
	}
	kind := d.piles[i][0]
	d.piles[i] = d.piles[i][1:]
	return kind
}

// words is the fault at a site by chance.
func words(r *rand.Rand, kind string, length time.Duration, sites []string) []string {
	i := r.IntN(len(sites))
	site, peer := sites[i], sites[(i+1+r.IntN(len(sites)-1))%len(sites)]
	lasts := []string{"--for", length.String()}
	switch kind {
	case "reload", "restart":
		return []string{site, kind}
	case "pause":
		return []string{site, kind, fmt.Sprintf("%.1f", length.Seconds())}
	case "link":
		return append([]string{site, "link", peer}, lasts...)
	case "link --one-way":
		return append([]string{site, "link", peer, "--one-way"}, lasts...)
	}
	name, amount := kind, ""
	if n, _ := fmt.Sscan(kind, &name, &amount); n == 2 {
		return append([]string{site, name, amount}, lasts...)
	}
	return append([]string{site, kind}, lasts...)
}

// loads is a level that steps every few minutes, with noise that lasts for some steps. The lab's day is a wave over it.
func loads(r *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	level, noise, left := 1.0, 0.0, 0
	for i := range out {
		if left == 0 {
			level = 0.7 + 0.6*r.Float64()
			left = 18 + r.IntN(24)
		}
		left--
		noise = 0.8*noise + 0.04*r.NormFloat64()
		out[i] = math.Round(10*baseLoad*level*math.Exp(noise)) / 10
	}
	return out
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(r.Float64()*float64(most-least))).Round(100 * time.Millisecond)
}
