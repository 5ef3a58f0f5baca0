package main

import (
	"strings"
	"testing"
	"time"
)

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
