package saturation

import (
	"bufio"
	"bytes"
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

// Reader reads the files below Root, which is / but in tests. One goroutine owns it; after the first look its memory is
// that of one look.
type Reader struct {
	Root string

	at       time.Time
	cpu      [2]float64           // busy and all, in ticks
	disks    map[string]float64   // busy, in ms
	links    map[string][2]uint64 // bytes in and out
	fill     float64
	fillAt   time.Time
	fillOK   bool
	pressure []Pressure
}

// fillEvery is how often file systems are asked: they fill slowly.
const fillEvery = 10 * time.Second

// Look returns the shares since the last look. Those that need two looks are absent at the first.
func (r *Reader) Look(at time.Time) Shares {
	out := Shares{}
	took := at.Sub(r.at).Seconds()
	first := r.at.IsZero() || took <= 0
	r.at = at
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
	if at.Sub(r.fillAt) >= fillEvery {
		r.fillAt = at
		r.fill, r.fillOK = r.fullest()
	}
	if r.fillOK {
		out[Filesystem] = r.fill
	}
	r.lookPressure(out)
	return out
}

// Pressure is what the last look found, empty where the kernel does not say.
func (r *Reader) Pressure() []Pressure { return r.pressure }

func (r *Reader) read(name string) []byte {
	raw, err := os.ReadFile(filepath.Join(r.Root, name))
	if err != nil {
		return nil // not there, or not for us: absent
	}
	return raw
}

// readCPU reads the first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal ...; guest
// time is in user already.
func (r *Reader) readCPU() (cpu [2]float64, ok bool) {
	line, _, _ := bytes.Cut(r.read("proc/stat"), []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 6 || f[0] != "cpu" {
		return cpu, false
	}
	for i, text := range f[1:min(len(f), 9)] {
		v, err := strconv.ParseFloat(text, 64)
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
	for f := range fieldLines(r.read("proc/meminfo")) {
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total, _ = strconv.ParseFloat(f[1], 64)
			have++
		case "MemAvailable:":
			available, _ = strconv.ParseFloat(f[1], 64)
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
		if len(f) < 13 || !r.wholeDisk(f[2]) {
			continue
		}
		busy, err := strconv.ParseFloat(f[12], 64)
		if err != nil {
			continue
		}
		now[f[2]] = busy
		if was, ok := r.disks[f[2]]; ok && !first && busy >= was {
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
		if len(f) < 10 || !strings.HasSuffix(f[0], ":") {
			continue
		}
		name := strings.TrimSuffix(f[0], ":")
		speed, err := strconv.ParseFloat(strings.TrimSpace(string(r.read("sys/class/net/"+name+"/speed"))), 64)
		if err != nil || speed <= 0 { // -1, or an error: not known
			continue
		}
		in, err1 := strconv.ParseUint(f[1], 10, 64)
		sent, err2 := strconv.ParseUint(f[9], 10, 64)
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

// lookPressure reads "some avg10=0.12 avg60=..." (Documentation/accounting/psi.rst).
func (r *Reader) lookPressure(out Shares) {
	r.pressure = r.pressure[:0]
	for _, resource := range []string{"cpu", "memory", "io"} {
		for f := range fieldLines(r.read("proc/pressure/" + resource)) {
			if len(f) < 2 || f[0] != "some" && f[0] != "full" {
				continue
			}
			text, ok := strings.CutPrefix(f[1], "avg10=")
			percent, err := strconv.ParseFloat(text, 64)
			if !ok || err != nil || percent < 0 || percent > 100 {
				continue
			}
			r.pressure = append(r.pressure, Pressure{Resource: resource, Kind: f[0], Share: percent / 100})
			switch resource + " " + f[0] {
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
		if len(f) < 3 || !strings.HasPrefix(f[0], "/dev/") || f[2] == "squashfs" || f[2] == "iso9660" {
			continue
		}
		if s, known := fill(unescape(f[1])); known {
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
func fieldLines(raw []byte) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		lines := bufio.NewScanner(bytes.NewReader(raw))
		for lines.Scan() {
			if !yield(strings.Fields(lines.Text())) {
				return
			}
		}
	}
}
