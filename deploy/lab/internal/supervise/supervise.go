package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Spec is how to start a process.
type Spec struct {
	Name string // unique; also the name of its log file
	Path string
	Args []string
	Env  []string // added to ours
	Log  string   // file for stdout and stderr, emptied at Add
	Dir  string   // working directory; empty is ours
}

// State of a process.
type State string

// States of a process.
const (
	Waiting State = "waiting" // not started yet, or pausing before the next start
	Running State = "running"
	Frozen  State = "frozen" // SIGSTOP
	Down    State = "down"   // killed by a fault, waits for heal
	Stopped State = "stopped"
)

// Status is what is known of a process.
type Status struct {
	Name     string `json:"name"`
	PID      int    `json:"pid,omitempty"`
	State    State  `json:"state"`
	Restarts int    `json:"restarts"` // by itself; starts after a fault or a restart that was asked for do not count
	SinceNS  int64  `json:"since_unix_ns"`
	LastExit string `json:"last_exit,omitempty"`
}

// pauses before the next start: doubled up to the maximum, back to the first after a life of ten seconds.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
	goodLife   = 10 * time.Second
)

// Supervisor starts processes and owns them. Close ends all of them.
type Supervisor struct {
	log      *slog.Logger
	spawn    chan func()
	mu       sync.Mutex
	children []*Child
	wg       sync.WaitGroup
	closed   bool
}

// New starts the thread that starts processes: the kernel ties a child's death signal to the thread that made
// it, so one locked thread lives as long as the supervisor.
func New(log *slog.Logger) *Supervisor {
	s := &Supervisor{log: log, spawn: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.spawn {
			f()
		}
	}()
	return s
}

// Child is one process over all its lives. Its methods are safe for concurrent use.
type Child struct {
	sup  *Supervisor
	spec Spec
	out  *os.File

	mu      sync.Mutex
	status  Status
	proc    *os.Process
	died    chan struct{} // closed when the present life ends
	want    bool
	ending  bool
	asked   bool // the present end was asked for and is followed by a start at once
	changed chan struct{}
}

// Add starts a process and keeps it. Processes are ended by Close in the reverse order of Add.
func (s *Supervisor) Add(spec Spec) (*Child, error) {
	out, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", spec.Name, err)
	}
	c := &Child{
		sup: s, spec: spec, out: out, want: true, changed: make(chan struct{}),
		status: Status{Name: spec.Name, State: Waiting, SinceNS: time.Now().UnixNano()},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = out.Close() // nothing was written
		return nil, fmt.Errorf("start %s: the lab is stopping", spec.Name)
	}
	s.children = append(s.children, c)
	s.wg.Go(c.live)
	return c, nil
}

// Statuses are those of all processes, in the order of Add.
func (s *Supervisor) Statuses() []Status {
	s.mu.Lock()
	children := slices.Clone(s.children)
	s.mu.Unlock()
	out := make([]Status, 0, len(children))
	for _, c := range children {
		out = append(out, c.Status())
	}
	return out
}

// Close ends all processes, the youngest first: SIGTERM, and SIGKILL after patience. It returns when no process
// is left.
func (s *Supervisor) Close(patience time.Duration) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	children := slices.Clone(s.children)
	s.mu.Unlock()
	for _, c := range slices.Backward(children) {
		c.end(patience)
	}
	s.wg.Wait()
	close(s.spawn)
}

// Status is what is known of the process now.
func (c *Child) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// set changes the state. The lock is held.
func (c *Child) set(state State) {
	c.status.State, c.status.SinceNS = state, time.Now().UnixNano()
	close(c.changed)
	c.changed = make(chan struct{})
}

// live is the loop of lives.
func (c *Child) live() {
	defer c.out.Close() //nolint:errcheck // the child wrote it, not we
	pause := firstPause
	for {
		c.mu.Lock()
		if c.ending {
			c.set(Stopped)
			c.mu.Unlock()
			return
		}
		if !c.want {
			changed := c.changed
			c.mu.Unlock()
			<-changed
			continue
		}
		c.mu.Unlock()
		lived, own := c.once()
		if !own {
			continue
		}
		c.sup.log.Warn("process ended by itself", slog.String("process", c.spec.Name),
			slog.String("exit", c.Status().LastExit), slog.Duration("next_start_in", pause))
		if lived >= goodLife {
			pause = firstPause
		}
		c.rest(pause)
		pause = min(2*pause, maxPause)
	}
}

// rest waits before the next start, unless something changes.
func (c *Child) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	c.mu.Lock()
	changed, ending := c.changed, c.ending
	c.mu.Unlock()
	if ending {
		return
	}
	select {
	case <-t.C:
	case <-changed:
	}
}

// once is one life; it returns how long it was and whether it ended by itself.
func (c *Child) once() (lived time.Duration, own bool) {
	cmd := exec.Command(c.spec.Path, c.spec.Args...)
	cmd.Env = append(os.Environ(), c.spec.Env...)
	cmd.Dir = c.spec.Dir
	cmd.Stdout, cmd.Stderr = c.out, c.out
	cmd.SysProcAttr = attributes()
	var err error
	started := make(chan struct{})
	c.sup.spawn <- func() { defer close(started); err = cmd.Start() }
	<-started
	began := time.Now()
	if err != nil {
		c.mu.Lock()
		c.status.LastExit = err.Error()
		own = c.over()
		c.mu.Unlock()
		return 0, own
	}
	died := make(chan struct{})
	c.mu.Lock()
	c.proc, c.died, c.status.PID = cmd.Process, died, cmd.Process.Pid
	switch {
	case c.ending:
		_ = cmd.Process.Signal(syscall.SIGTERM) // end came while it was being started
	case !c.want:
		_ = cmd.Process.Kill() // so did a fault
	}
	c.set(Running)
	c.mu.Unlock()

	_ = cmd.Wait() // its words are in ProcessState
	c.mu.Lock()
	c.proc, c.status.PID = nil, 0
	c.status.LastExit = cmd.ProcessState.String()
	own = c.over()
	close(died)
	c.mu.Unlock()
	return time.Since(began), own
}

// over closes the account of a life that has just ended. Whether it ended by itself must be known now: a moment
// later somebody may have asked for the next one. The lock is held.
func (c *Child) over() (own bool) {
	own = c.want && !c.asked && !c.ending
	c.asked = false
	if own {
		c.status.Restarts++
	}
	if c.want {
		c.set(Waiting)
	} else {
		c.set(Down)
	}
	return own
}

// Kill ends the process with SIGKILL and keeps it down until Start. It returns when the process is gone.
func (c *Child) Kill() {
	c.mu.Lock()
	c.want = false
	proc, died := c.proc, c.died
	if proc == nil {
		c.set(Down)
		c.mu.Unlock()
		return
	}
	_ = proc.Kill() // it may be gone already, which is what we want
	c.mu.Unlock()
	<-died
}

// Start lets a process that was killed live again.
func (c *Child) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.want && !c.ending {
		c.want = true
		c.set(Waiting)
	}
}

// Freeze stops the process where it is (SIGSTOP), Thaw lets it go on.
func (c *Child) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc != nil && c.proc.Signal(syscall.SIGSTOP) == nil {
		c.set(Frozen)
	}
}

// Thaw undoes Freeze.
func (c *Child) Thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc != nil && c.status.State == Frozen && c.proc.Signal(syscall.SIGCONT) == nil {
		c.set(Running)
	}
}

// Signal sends a signal; its error says that there is no process.
func (c *Child) Signal(sig os.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		return fmt.Errorf("%s does not run", c.spec.Name)
	}
	return c.proc.Signal(sig)
}

// Restart ends the process gracefully and starts it again at once. It returns when the new one runs.
func (c *Child) Restart(ctx context.Context) error {
	c.mu.Lock()
	proc, died := c.proc, c.died
	if proc == nil {
		c.mu.Unlock()
		return fmt.Errorf("%s does not run", c.spec.Name)
	}
	c.asked = true
	_ = proc.Signal(syscall.SIGTERM) // gone is what we want
	c.mu.Unlock()
	select {
	case <-died:
	case <-ctx.Done():
		_ = proc.Kill() // it had its time
		<-died
	}
	for {
		c.mu.Lock()
		state, changed := c.status.State, c.changed
		c.mu.Unlock()
		if state == Running || state == Down || state == Stopped {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("restart %s: %w", c.spec.Name, ctx.Err())
		}
	}
}

// end stops the process for good.
func (c *Child) end(patience time.Duration) {
	c.mu.Lock()
	c.ending = true
	proc, died := c.proc, c.died
	if proc == nil {
		c.set(c.status.State)
		c.mu.Unlock()
		return
	}
	_ = proc.Signal(syscall.SIGTERM) // gone is what we want
	_ = proc.Signal(syscall.SIGCONT) // a frozen process cannot end
	c.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-died:
		return
	case <-t.C:
	}
	c.sup.log.Warn("process did not end in time", slog.String("process", c.spec.Name))
	_ = proc.Kill() // it had its time
	<-died
}
