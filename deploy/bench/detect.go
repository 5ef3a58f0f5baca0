package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// benchDetect runs the Go benchmarks of detection: one point of one series, the live engine at several sizes, each in a
// process of its own, and the replay of a start.
func benchDetect(ctx context.Context, b *bench) error {
	err := b.goBench(ctx, "server/internal/detect", "^BenchmarkObserve$", b.o.Time, "detect")
	for _, n := range b.o.Series {
		pattern := "^BenchmarkEngine$/^" + strconv.Itoa(n) + "$"
		err = errors.Join(err, b.goBench(ctx, "server/internal/app", pattern, strconv.Itoa(b.o.Cycles)+"x", "detect"))
	}
	pattern := "^BenchmarkReplay$/^" + strconv.Itoa(b.o.Days) + "$"
	return errors.Join(err, b.goBench(ctx, "server/internal/app", pattern, "1x", "detect"))
}

// goBench runs Go benchmarks of one package and prints every figure that they report, by its unit.
func (b *bench) goBench(ctx context.Context, pkg, pattern, lasts, prefix string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", lasts, "-timeout", "0",
		"github.com/evenkeel/evenkeel/"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench %s of %s: %w\n%s", pattern, pkg, err, bytes.TrimSpace(out))
	}
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, figures := benchmarkLine(lines.Text())
		if name == "" {
			continue
		}
		found++
		for _, unit := range detectUnits() {
			if v, ok := figures[unit.reported]; ok {
				b.figure(strings.Trim(prefix+"_"+name+"_"+unit.name, "_"), v, unit.unit)
			}
		}
	}
	if found == 0 {
		return fmt.Errorf("%s has no benchmark that matches %s", pkg, pattern)
	}
	return nil
}

// detectUnit is a figure as a benchmark reports it, and as it is printed.
type detectUnit struct{ reported, name, unit string }

func detectUnits() []detectUnit {
	return []detectUnit{
		{"cpu-ns/op", "", "ns"},
		{"allocs/op", "allocs", "count"},
		{"B/series", "bytes", "B"},
		{"cycle-p50-s", "cycle_p50", "s"},
		{"cycle-max-s", "cycle_max", "s"},
		{"cycle-cpu-s", "cycle_cpu", "s"},
		{"skipped", "skipped", "count"},
		{"cores", "cpu", "cores"},
		{"rss-MB", "rss", "MB"},
		{"fact-during-p50-ms", "fact_during_p50", "ms"},
		{"fact-during-p99-ms", "fact_during_p99", "ms"},
		{"fact-between-p50-ms", "fact_between_p50", "ms"},
		{"fact-between-p99-ms", "fact_between_p99", "ms"},
		{"replay-s", "time", "s"},
		{"replay-cpu-s", "cpu_time", "s"},
		{"points/s", "speed", "points/s"},
		{"other-late-max-s", "other_late_max", "s"},
	}
}
