package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the kernel's unit of processor time in /proc, the same on every Linux.
const ticksPerSecond = 100

// rss is the resident memory of a process in MB (10^6 bytes).
func rss(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory: it has ended", pid)
}

// cpu is the processor time a process has used, in seconds.
func cpu(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of a process: %w", err)
	}
	// The second field is the name in parentheses, in which anything may stand.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(err, err2)
}

// usage is what a process took over a time.
type usage struct {
	rssMax, rssMedian float64 // MB, sampled each second
	pssMedian         float64 // MB; 0 where it was not asked for
	cores             float64 // processor time per time
	alloc, wire       float64 // kB/s; 0 where it was not asked for
}

// watch samples a process for a time.
func watch(ctx context.Context, pid int, lasts time.Duration) (usage, error) {
	var u usage
	var sizes []float64
	began := time.Now()
	before, err := cpu(pid)
	if err != nil {
		return u, err
	}
	for time.Since(began) < lasts {
		if err := pause(ctx, min(time.Second, lasts)); err != nil {
			return u, err
		}
		size, err := rss(pid)
		if err != nil {
			return u, err
		}
		sizes = append(sizes, size)
	}
	after, err := cpu(pid)
	if err != nil {
		return u, err
	}
	u.cores = (after - before) / time.Since(began).Seconds()
	u.rssMax, u.rssMedian = quantile(sizes, 1), median(sizes)
	return u, nil
}

// load is the machine's load average of the last minute: figures of a busy machine are no figures.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}
