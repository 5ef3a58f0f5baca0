package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Process is a program that was started and will be waited for.
type Process struct {
	cmd  *exec.Cmd
	out  *buffer
	done chan struct{}
	err  error // set before done is closed
}

// StartProcess starts a program; what it prints is kept. It ends with us at the latest.
func StartProcess(path string, args ...string) (*Process, error) {
	return startProcess(func() error { return nil }, path, args...)
}

// startProcess starts a program on a thread that has been prepared for it, and is good for nothing else afterwards.
func startProcess(prepare func() error, path string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(path, args...), out: &buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = p.out, p.out, dependent()
	p.cmd.WaitDelay = 5 * time.Second // a grandchild may keep the output open
	started := make(chan error)
	// The kernel ties the child to the thread that started it, so that thread has to live as long.
	onThread(func() {
		err := prepare()
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		defer close(p.done)
		p.err = p.cmd.Wait()
	})
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// PID of the process, also after its end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what it has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Ended is closed when the process has ended and was waited for.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Signal sends a signal; to a process that has ended it is an error.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends it at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended before
	<-p.done
}

// Wait waits for its end up to the patience and returns how it ended.
func (p *Process) Wait(patience time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		return fmt.Errorf("process %d has not ended within %s", p.PID(), patience)
	}
}

// ExitCode is the exit code of a command's error: 0 for none, -1 for a signal or no process.
func ExitCode(err error) int {
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.ExitCode()
	}
	return -1
}

// Left are the living processes with a text in their command line: those that belong to a data folder.
func Left(text string) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(raw, []byte(text)) {
			continue // it ended meanwhile, or is not ours
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err == nil && pid != os.Getpid() {
			out = append(out, pid)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Never is the reason of a wait that is over before its time: what is waited for cannot come any more.
type Never struct{ Err error }

func (e *Never) Error() string { return e.Err.Error() }

func (e *Never) Unwrap() error { return e.Err }

// Until asks ok until it returns nil, up to the patience or a *Never. Its error carries the last reason.
func Until(patience time.Duration, what string, ok func() error) error {
	const pause = 100 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		err := ok()
		if err == nil {
			return nil
		}
		if _, never := errors.AsType[*Never](err); never {
			return fmt.Errorf("not %s: %w", what, err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s: %w", patience, what, err)
		}
	}
}

// buffer is a text that is written and read at the same time. Of a long one it keeps the end.
type buffer struct {
	mu sync.Mutex
	b  []byte
}

const bufferKeeps = 256 << 10

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = append(b.b, p...)
	if n := len(b.b) - bufferKeeps; n > bufferKeeps {
		b.b = slices.Clone(b.b[n:])
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.b)
}
