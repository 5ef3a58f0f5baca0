package saturation

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Shares are shares in use, 0 to 1; what is not known is absent.
type Shares map[Resource]float64

// Pressure is what the kernel says of how long tasks waited, as shares of the last 10 seconds (PSI).
type Pressure struct {
	Resource string // cpu, memory or io
	Kind     string // some or full
	Share    float64
}

// Reader reads the files below Root, which is / but in tests. One goroutine owns it and closes it; after the first look its memory is
// that of one look. It looks each second, so that what is asked each time is kept open, and what hardly changes is asked seldom.
type Reader struct {
	Root string

	open     map[string]*os.File
	buf      []byte
	seldomAt time.Time
	whole    map[string]bool    // by the name of a disk: it is no partition, and is one that counts
	speeds   map[string]float64 // by the name of a link, in Mbit/s; 0: not known

	at       time.Time
	cpu      [2]float64           // busy and all, in ticks
	disks    map[string]float64   // busy, in ms
	links    map[string][2]uint64 // bytes in and out
	fill     float64
	fillOK   bool
	pressure []Pressure
}

// seldom is how often file systems are asked, which fill slowly, and what disks and links are.
const seldom = 10 * time.Second

// Look returns the shares since the last look. Those that need two looks are absent at the first.
func (r *Reader) Look(at time.Time) Shares {
	out := Shares{}
	took := at.Sub(r.at).Seconds()
	first := r.at.IsZero() || took <= 0
	r.at = at
	if at.Sub(r.seldomAt) >= seldom {
		r.seldomAt, r.whole, r.speeds = at, map[string]bool{}, map[string]float64{}
		r.fill, r.fillOK = r.fullest()
	}
	if cpu, ok := r.readCPU(); ok {
		if all := cpu[1] - r.cpu[1]; !first && all > 0 && r.cpu[1] > 0 {
			out[CPU] = (cpu[0] - r.cpu[0]) / all
		}
		r.cpu = cpu
	}
	if share, ok := r.readMemory(); ok {
		out[Memory] = share
	}
	r.lookDisks(out, first, took)
	r.lookLinks(out, first, took)
	if r.fillOK {
		out[Filesystem] = r.fill
	}
	r.lookPressure(out)
	return out
}

// Pressure is what the last look found, empty where the kernel does not say.
func (r *Reader) Pressure() []Pressure { return r.pressure }

// Close closes what is kept open.
func (r *Reader) Close() {
	for _, f := range r.open {
		_ = f.Close()
	}
	r.open = nil
}

// read returns a file that is asked each time, until the next read; nil when it is not there, or not for us.
func (r *Reader) read(name string) []byte {
	f, ok := r.open[name]
	if !ok {
		var err error
		if f, err = os.Open(filepath.Join(r.Root, name)); err != nil {
			return nil
		}
		if r.open == nil {
			r.open = map[string]*os.File{}
		}
		r.open[name] = f
	}
	if r.buf == nil {
		r.buf = make([]byte, 8<<10)
	}
	for {
		n, err := f.ReadAt(r.buf, 0)
		switch {
		case err == nil: // there is more
			r.buf = make([]byte, 2*len(r.buf))
		case errors.Is(err, io.EOF):
			return r.buf[:n]
		default:
			_ = f.Close()
			delete(r.open, name)
			return nil
		}
	}
}

// readCPU reads the first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal ...; guest
// time is in user already.
func (r *Reader) readCPU() (cpu [2]float64, ok bool) {
	line, _, _ := bytes.Cut(r.read("proc/stat"), []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 6 || string(f[0]) != "cpu" {
		return cpu, false
	}
	for i, text := range f[1:min(len(f), 9)] {
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return cpu, false
		}
		cpu[1] += v
		if i != 3 && i != 4 { // idle and iowait
			cpu[0] += v
		}
	}
	return cpu, true
}

func (r *Reader) readMemory() (share float64, ok bool) {
	var total, available float64
	have := 0
	for line := range bytes.Lines(r.read("proc/meminfo")) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		value := &total
		switch string(name) {
		case "MemTotal":
		case "MemAvailable":
			value = &available
		default:
			continue
		}
		if f := bytes.Fields(rest); len(f) > 0 {
			*value, _ = strconv.ParseFloat(string(f[0]), 64)
			have++
		}
	}
	if have != 2 || total <= 0 {
		return 0, false
	}
	return 1 - available/total, true
}

// lookDisks takes the time that whole disks were busy, field 13 of /proc/diskstats (Documentation/admin-guide/iostats.rst).
func (r *Reader) lookDisks(out Shares, first bool, took float64) {
	now := map[string]float64{}
	for f := range fieldLines(r.read("proc/diskstats")) {
		if len(f) < 13 {
			continue
		}
		name := string(f[2])
		whole, asked := r.whole[name]
		if !asked {
			whole = r.wholeDisk(name)
			r.whole[name] = whole
		}
		busy, err := strconv.ParseFloat(string(f[12]), 64)
		if err != nil || !whole {
			continue
		}
		now[name] = busy
		if was, ok := r.disks[name]; ok && !first && busy >= was {
			out[Disk] = max(out[Disk], (busy-was)/1000/took)
		}
	}
	r.disks = now
}

func (r *Reader) wholeDisk(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "sr", "fd"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	_, err := os.Stat(filepath.Join(r.Root, "sys/block", name)) // partitions are not there
	return err == nil
}

func (r *Reader) lookLinks(out Shares, first bool, took float64) {
	now := map[string][2]uint64{}
	for f := range fieldLines(bytes.ReplaceAll(r.read("proc/net/dev"), []byte(":"), []byte(": "))) {
		if len(f) < 10 || !bytes.HasSuffix(f[0], []byte(":")) {
			continue
		}
		name := string(bytes.TrimSuffix(f[0], []byte(":")))
		speed, asked := r.speeds[name]
		if !asked {
			speed = r.speed(name)
			r.speeds[name] = speed
		}
		if speed <= 0 {
			continue
		}
		in, err1 := strconv.ParseUint(string(f[1]), 10, 64)
		sent, err2 := strconv.ParseUint(string(f[9]), 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		now[name] = [2]uint64{in, sent}
		if was, ok := r.links[name]; ok && !first && in >= was[0] && sent >= was[1] {
			out[Network] = max(out[Network], float64(max(in-was[0], sent-was[1]))*8/(speed*1e6)/took)
		}
	}
	r.links = now
}

// speed is that of a link in Mbit/s; 0 when it is not known, for which the kernel says -1 or an error.
func (r *Reader) speed(link string) float64 {
	raw, err := os.ReadFile(filepath.Join(r.Root, "sys/class/net", link, "speed"))
	if err != nil {
		return 0
	}
	speed, err := strconv.ParseFloat(string(bytes.TrimSpace(raw)), 64)
	if err != nil {
		return 0
	}
	return max(speed, 0)
}

// lookPressure reads "some avg10=0.12 avg60=..." (Documentation/accounting/psi.rst).
func (r *Reader) lookPressure(out Shares) {
	r.pressure = r.pressure[:0]
	for _, resource := range []string{"cpu", "memory", "io"} {
		for f := range fieldLines(r.read("proc/pressure/" + resource)) {
			if len(f) < 2 || string(f[0]) != "some" && string(f[0]) != "full" {
				continue
			}
			kind := string(f[0])
			text, ok := bytes.CutPrefix(f[1], []byte("avg10="))
			percent, err := strconv.ParseFloat(string(text), 64)
			if !ok || err != nil || percent < 0 || percent > 100 {
				continue
			}
			r.pressure = append(r.pressure, Pressure{Resource: resource, Kind: kind, Share: percent / 100})
			switch resource + " " + kind {
			case "cpu some":
				out[CPUPressure] = percent / 100
			case "memory full":
				out[MemoryPressure] = percent / 100
			case "io full":
				out[IOPressure] = percent / 100
			}
		}
	}
}

// fullest is the share in use of the fullest file system on a disk.
func (r *Reader) fullest() (share float64, ok bool) {
	for f := range fieldLines(r.read("proc/self/mounts")) {
		if len(f) < 3 || !bytes.HasPrefix(f[0], []byte("/dev/")) || string(f[2]) == "squashfs" || string(f[2]) == "iso9660" {
			continue
		}
		if s, known := fill(unescape(string(f[1]))); known {
			share, ok = max(share, s), true
		}
	}
	return share, ok
}

// unescape takes the octal escapes out of a path of /proc/self/mounts.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// fieldLines are the fields of each line.
func fieldLines(raw []byte) func(yield func([][]byte) bool) {
	return func(yield func([][]byte) bool) {
		for line := range bytes.Lines(raw) {
			if !yield(bytes.Fields(line)) {
				return
			}
		}
	}
}
