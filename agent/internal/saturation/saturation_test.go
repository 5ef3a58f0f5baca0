package saturation

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// host is a made-up /proc and /sys.
type host struct {
	t    *testing.T
	root string
}

func (h host) write(name, format string, args ...any) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h host) is(got, want Shares) {
	h.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		h.t.Error(diff)
	}
}

func TestShares(t *testing.T) {
	h := host{t, t.TempDir()}
	r := &Reader{Root: h.root}
	defer r.Close()
	at := time.Unix(1_790_000_000, 0)
	h.is(r.Look(at), Shares{}) // a system without such files

	h.write("proc/stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n")
	h.write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    250 kB\n")
	h.write("proc/diskstats", "   8 0 sda 1 2 3 4 5 6 7 8 0 1000 9 0 0 0 0\n   8 1 sda1 1 2 3 4 5 6 7 8 0 1000 9\n   7 0 loop0 1 2 3 4 5 6 7 8 0 1000 9\n")
	h.write("sys/block/sda/size", "1")
	h.write("proc/net/dev", "Inter-|   Receive\n face |bytes\n  eth0:1000 1 0 0 0 0 0 0 5000 1 0 0 0 0 0 0\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n")
	h.write("sys/class/net/eth0/speed", "1000\n")
	h.write("sys/class/net/lo/speed", "-1\n")
	h.write("proc/pressure/cpu", "some avg10=12.50 avg60=1.00 avg300=0.10 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	h.write("proc/pressure/io", "some avg10=99.00 avg60=1.00 avg300=0.10 total=1\nfull avg10=7.00 avg60=0.00 avg300=0.00 total=0\n")
	at = at.Add(time.Second)
	h.is(r.Look(at), Shares{Memory: 0.75, CPUPressure: 0.125, IOPressure: 0.07})
	if len(r.Pressure()) != 4 {
		t.Errorf("pressure: %v", r.Pressure())
	}

	h.write("proc/stat", "cpu  130 0 100 760 100 0 0 10 80 0\n")
	h.write("proc/diskstats", "   8 0 sda 1 2 3 4 5 6 7 8 0 1500 9\n   8 1 sda1 1 2 3 4 5 6 7 8 0 2900 9\n")
	h.write("proc/net/dev", "  eth0:125001000 1 0 0 0 0 0 0 5000 1 0 0 0 0 0 0\n")
	at = at.Add(2 * time.Second)
	h.is(r.Look(at), Shares{CPU: 0.4, Memory: 0.75, Disk: 0.25, Network: 0.5, CPUPressure: 0.125, IOPressure: 0.07})

	// Counters that went back, and files that are no such files.
	h.write("proc/stat", "cpu  1 0 1 x\n")
	h.write("proc/diskstats", "   8 0 sda 1 2 3 4 5 6 7 8 0 1 9\n")
	h.write("proc/net/dev", "  eth0:1 1 0 0 0 0 0 0 5000 1 0 0 0 0 0 0\n")
	h.write("proc/meminfo", "MemTotal: 1000 kB\n")
	h.write("proc/pressure/cpu", "some avg10=lots\n")
	h.write("proc/pressure/io", "")
	at = at.Add(time.Second)
	h.is(r.Look(at), Shares{})
}

// What is kept open is read anew each time, however long it gets; what a disk or link is, is asked again after a while.
func TestWhatChangesWhileItIsOpen(t *testing.T) {
	h := host{t, t.TempDir()}
	r := &Reader{Root: h.root}
	defer r.Close()
	at := time.Unix(1_790_000_000, 0)
	look := func(later time.Duration) Shares { at = at.Add(later); return r.Look(at) }
	h.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\n")
	h.is(look(time.Second), Shares{Memory: 0.75})
	h.write("proc/meminfo", "%sMemTotal: 1000 kB\nMemAvailable: 500 kB\n", strings.Repeat("Other: 1 kB\n", 3000))
	h.is(look(time.Second), Shares{Memory: 0.5})
	h.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 100 kB\n")
	h.is(look(time.Second), Shares{Memory: 0.9})

	bytes := 0
	passes := func(later time.Duration) Shares {
		bytes += 12_500_000 * int(later/time.Second)
		h.write("proc/net/dev", "  eth0:%d 1 0 0 0 0 0 0 5000 1 0 0 0 0 0 0\n", bytes)
		return look(later)
	}
	h.write("sys/class/net/eth0/speed", "1000\n")
	passes(time.Second)
	h.is(passes(time.Second), Shares{Memory: 0.9, Network: 0.1})
	h.write("sys/class/net/eth0/speed", "200\n")
	h.is(passes(seldom), Shares{Memory: 0.9, Network: 0.5})
}

func TestPercentileOfAMinute(t *testing.T) {
	var w Window
	f := func(want float64, known bool) {
		t.Helper()
		got, ok := w.P95(CPU)
		if ok != known || math.Abs(got-want) > 1e-9 {
			t.Errorf("%v, %v; want %v, %v", got, ok, want, known)
		}
	}
	for range Enough - 1 {
		w.Add(Shares{CPU: 0.5})
	}
	f(0, false)
	w.Add(Shares{CPU: 0.5})
	f(0.5, true)
	for i := range Samples { // 0, 1/60 ... 59/60: the 57th of 60
		w.Add(Shares{CPU: float64(i) / 60})
	}
	f(56.0/60, true)
	for range 3 {
		w.Add(Shares{CPU: 7})
	}
	f(59.0/60, true) // three seconds of sixty are no percentile
	w.Add(Shares{CPU: 7})
	f(1, true)
	for range Samples - Enough + 1 {
		w.Add(Shares{})
	}
	f(0, false) // a minute of silence
}

func TestIndexIsTheLargestOfWhatIsKnown(t *testing.T) {
	f := func(s Shares, want float64, of Resource, known bool) {
		t.Helper()
		var w Window
		for range Samples {
			w.Add(s)
		}
		got, r, ok := w.Index()
		if got != want || r != of || ok != known {
			t.Errorf("%v: %v of %v, %v; want %v of %v, %v", s, got, r, ok, want, of, known)
		}
	}
	f(Shares{CPU: 0.2, Memory: 0.6, IOPressure: 0.7}, 0.7, IOPressure, true)
	f(Shares{CPU: 0, Memory: 0}, 0, CPU, true)
	f(Shares{CPU: 0.9}, 0, Unknown, false)
	f(Shares{Memory: 0.9, Disk: 1}, 0, Unknown, false)
	f(nil, 0, Unknown, false)
}

func TestThisHost(t *testing.T) {
	if _, err := os.Stat("/proc/meminfo"); err != nil {
		t.Skip("no /proc here")
	}
	r := &Reader{Root: "/"}
	defer r.Close()
	r.Look(time.Now().Add(-time.Second))
	for resource, share := range r.Look(time.Now()) {
		if resource.String() == "unknown" || share < 0 || math.IsNaN(share) {
			t.Errorf("%v: %v", resource, share)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	r := &Reader{Root: "/"}
	defer r.Close()
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		r.Look(at)
	}
}
