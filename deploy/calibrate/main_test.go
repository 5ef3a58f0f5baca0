package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// The values are those of the tables of Garwood (1936).
func TestIntervalOfACount(t *testing.T) {
	f := func(n int, low, high float64) {
		t.Helper()
		l, h := interval(n)
		if math.Abs(l-low) > 0.005*low || math.Abs(h-high) > 0.005*high {
			t.Errorf("%d counts: %.4f to %.4f, want %.4f to %.4f", n, l, h, low, high)
		}
	}
	f(0, 0, 3.689)
	f(1, 0.0253, 5.572)
	f(10, 4.795, 18.39)
	f(100, 81.36, 121.6)
}

func TestTableHasEveryKindAndBudget(t *testing.T) {
	p := plan{series: 2, train: 0, weeks: 1, step: time.Hour, budgets: []float64{1000, 1}}
	var a, b strings.Builder
	if err := p.run(&a); err != nil {
		t.Fatal(err)
	}
	if err := p.run(&b); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("two runs differ")
	}
	if n, want := strings.Count(a.String(), "\n"), 2+2*len(kinds()); n != want {
		t.Errorf("%d lines, want %d:\n%s", n, want, a.String())
	}
	if p.step = 0; p.run(&a) == nil {
		t.Error("points at no distance are taken")
	}
}
