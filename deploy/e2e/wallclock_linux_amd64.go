package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// wallClockJumps says why the wall clock of one process cannot be set here, nil when it can.
func wallClockJumps() error { return nil }

// SetWallClock sets the wall clock of this one process off from that of the machine, which keeps its own, and so does the
// monotonic clock of the process. It replaces the function of the kernel's shared object that a program reads the clock
// with by one that adds seconds; the kernel gives the process a page of its own for it, as for a debugger's breakpoint.
func (p *Process) SetWallClock(off time.Duration) (err error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.PID()), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the memory of the process: %w", err)
	}
	defer func() { err = errors.Join(err, mem.Close()) }()
	from, to, err := clockCode(mem, p.PID())
	if err != nil {
		return err
	}
	code := clockWith(int32(off / time.Second)) //nolint:gosec // seconds of hours
	if len(code) > int(to-from) {
		return fmt.Errorf("the clock's function has %d bytes, %d are needed", to-from, len(code))
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Signal(syscall.SIGCONT)) }()
	return Until(5*time.Second, "no thread is reading the clock", func() error {
		if err := outside(p.PID(), from, to); err != nil {
			return errors.Join(err, p.Signal(syscall.SIGCONT), p.Signal(syscall.SIGSTOP))
		}
		if _, err := mem.WriteAt(code, int64(from)); err != nil { //nolint:gosec // an address of user space
			return &Never{fmt.Errorf("write the clock's function: %w", err)}
		}
		return nil
	})
}

// clockWith is the machine code of clock_gettime for CLOCK_REALTIME with seconds added; other clocks are as they are.
func clockWith(seconds int32) []byte {
	code := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: is it CLOCK_REALTIME, which is 0?
		0x75, 0x07, // jne to the end
		0x48, 0x81, 0x06, // add qword ptr [rsi], seconds
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(seconds)) //nolint:gosec // two's complement is meant
	return append(code, 0xc3)                                      // ret
}

// clockCode is where the function lies that the process reads its clock with.
func clockCode(mem io.ReaderAt, pid int) (from, to uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the map of the process: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			_, err = fmt.Sscanf(line, "%x-%x", &from, &to)
		}
	}
	if err != nil || from == 0 {
		return 0, 0, fmt.Errorf("process %d has no shared object of the kernel's: %w", pid, err)
	}
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, int64(from)); err != nil { //nolint:gosec // an address of user space
		return 0, 0, fmt.Errorf("read the kernel's shared object: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, fmt.Errorf("read the kernel's shared object: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, 0, fmt.Errorf("read the kernel's shared object: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return from + s.Value, from + s.Value + s.Size, nil
		}
	}
	return 0, 0, errors.New("the kernel's shared object has no clock_gettime")
}

// outside is an error while a thread of the stopped process is within the code, or is still running.
func outside(pid int, from, to uint64) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return fmt.Errorf("list the threads: %w", err)
	}
	for _, path := range threads {
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		words := strings.Fields(string(raw))
		if err != nil || len(words) < 3 {
			return fmt.Errorf("%s: %q, %w", path, raw, err)
		}
		pc, err := strconv.ParseUint(words[len(words)-1], 0, 64)
		if err != nil || (pc >= from && pc < to) {
			return fmt.Errorf("%s: at %s, %w", path, words[len(words)-1], err)
		}
	}
	return nil
}
