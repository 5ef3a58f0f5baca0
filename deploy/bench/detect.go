package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// benchDetect runs the Go benchmarks of detection: one point of one series, the live engine at several sizes, each in a
// process of its own, and the replay of a start.
func benchDetect(ctx context.Context, b *bench) error {
	err := b.detection(ctx, "server/internal/detect", "^BenchmarkObserve$", b.o.Time)
	for _, n := range b.o.Series {
		pattern := "^BenchmarkEngine$/^" + strconv.Itoa(n) + "$"
		err = errors.Join(err, b.detection(ctx, "server/internal/app", pattern, strconv.Itoa(b.o.Cycles)+"x"))
	}
	pattern := "^BenchmarkReplay$/^(" + strconv.Itoa(b.o.Days) + "|10000)$"
	return errors.Join(err, b.detection(ctx, "server/internal/app", pattern, "1x"))
}

// detection runs benchmarks of one package and prints every figure that they report, by its unit.
func (b *bench) detection(ctx context.Context, pkg, pattern, lasts string) error {
	return goBench(ctx, pkg, pattern, lasts, func(name string, figures map[string]float64) {
		for _, unit := range detectUnits() {
			if v, ok := figures[unit.reported]; ok {
				b.figure(strings.Trim("detect_"+name+"_"+unit.name, "_"), v, unit.unit)
			}
		}
	})
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
		{"live-MB", "live", "MB"},
		{"spare-MB", "spare", "MB"},
		{"runtime-MB", "runtime", "MB"},
		{"files-MB", "files", "MB"},
		{"fact-during-p50-ms", "fact_during_p50", "ms"},
		{"fact-during-p99-ms", "fact_during_p99", "ms"},
		{"fact-between-p50-ms", "fact_between_p50", "ms"},
		{"fact-between-p99-ms", "fact_between_p99", "ms"},
		{"replay-s", "time", "s"},
		{"replay-cpu-s", "cpu_time", "s"},
		{"points/s", "speed", "points/s"},
		{"other-late-max-s", "other_late_max", "s"},
		{"save-s", "save_time", "s"},
		{"state-MB", "state", "MB"},
		{"restart-s", "restart_time", "s"},
		{"restart-cpu-s", "restart_cpu_time", "s"},
		{"restart-late-max-s", "restart_other_late_max", "s"},
	}
}
