package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAPlanFollowsFromItsSeed(t *testing.T) {
	one, again, two := makePlan(1, time.Hour, 3, sites()), makePlan(1, time.Hour, 3, sites()), makePlan(2, time.Hour, 3, sites())
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed gave another plan")
	}
	if reflect.DeepEqual(one.Faults, two.Faults) || reflect.DeepEqual(one.Loads, two.Loads) {
		t.Error("another seed gave the same plan")
	}
}

// TestAPlanLeavesRoom: no fault in the prefix, a rest between any two and at the end, and one long rest.
func TestAPlanLeavesRoom(t *testing.T) {
	for seed := range uint64(50) {
		const lasts = 65 * time.Minute
		p := makePlan(seed, lasts, 3, sites())
		free, longest := p.Prefix-restLeast, time.Duration(0) // free from the end of the last fault on
		if p.Prefix < 14*time.Minute {
			t.Errorf("seed %d: a prefix of %s", seed, p.Prefix)
		}
		for _, f := range append(p.Faults, planned{At: lasts}) {
			rest := f.At - free
			if rest < restLeast {
				t.Errorf("seed %d: %v comes %s after the one before", seed, f.Words, rest)
			}
			longest, free = max(longest, rest), f.At+length(f.Words)
		}
		if longest < 6*time.Minute {
			t.Errorf("seed %d: no rest longer than %s", seed, longest)
		}
		if n := len(p.Faults); n < 13 || n > 18 {
			t.Errorf("seed %d: %d faults", seed, n)
		}
		if len(p.Loads) != 391 {
			t.Errorf("seed %d: %d loads", seed, len(p.Loads))
		}
		for _, load := range p.Loads {
			if load < baseLoad/3 || load > baseLoad*3 {
				t.Errorf("seed %d: a load of %g", seed, load)
			}
		}
	}
}

// length is how long a fault lasts; an event has none.
func length(words []string) time.Duration {
	if len(words) == 0 {
		return 0
	}
	text := words[len(words)-1]
	if words[1] == "pause" {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

// TestEveryStrengthComesBeforeOneComesAgain: of twelve strong faults in a row none is there twice.
func TestEveryStrengthComesBeforeOneComesAgain(t *testing.T) {
	p := makePlan(7, 3*time.Hour, 3, sites())
	var kinds []string
	for i, f := range p.Faults {
		if i%4 != 3 {
			words := strings.Join(f.Words[1:], " ")
			kind, _, _ := strings.Cut(words, " --for")
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) < 24 {
		t.Fatalf("only %d strong faults in three hours", len(kinds))
	}
	for _, turn := range [][]string{kinds[:12], kinds[12:24]} {
		seen := map[string]bool{}
		for _, k := range turn {
			if seen[k] {
				t.Errorf("%s is twice in %v", k, turn)
			}
			seen[k] = true
		}
	}
}
