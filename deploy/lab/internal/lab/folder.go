package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/remediations"
)

// format of the data folder; another one is of another version of the lab.
const format = 1

// stamp says whose folder it is.
type stamp struct {
	Format   int    `json:"format"`
	Profile  string `json:"profile"`
	Replicas int    `json:"replicas,omitempty"` // 0: one server, alone
	// BasePort is that of replicas: their ledgers know where they reach each other. 0: alone, or of an earlier version.
	BasePort int `json:"base_port,omitempty"`
}

// claim makes the folder ours: locked against a second lab, of our profile and version, with everything in it
// that must be there before a process starts. release gives it back.
func claim(o Options, l layout.Layout) (release func(), err error) {
	f := layout.Folder(o.Data)
	for _, dir := range []string{o.Data, f.Logs(), f.Knobs(), f.Tokens(), f.State("director")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the data folder: %w: choose another with --data", err)
		}
	}
	lock, err := os.OpenFile(f.Lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(f.Lock()) // it is only for the message
		_ = lock.Close()                // it was not ours
		return nil, fmt.Errorf("a lab already runs with %s (pid %s): stop it, or choose another --data, --base-port and --listen "+
			"(make run FLAGS=\"--data data/other --base-port 19400 --listen 127.0.0.1:9450\")",
			o.Data, strings.TrimSpace(string(pid)))
	}
	release = func() { _ = lock.Close() } // the kernel gives the lock back
	if err := prepare(o, l, f, lock); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func prepare(o Options, l layout.Layout, f layout.Folder, lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	if err := checkStamp(o, l, f); err != nil {
		return err
	}
	if err := checkPorts(o, l); err != nil {
		return err
	}
	if err := clearKnobs(f); err != nil {
		return err
	}
	if _, err := os.Stat(f.Key()); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(f.Key(), []byte(remediations.GenerateSecret()), 0o600); err != nil {
			return fmt.Errorf("write the executor's key: %w", err)
		}
	}
	if o.NoServer || o.Config != "" {
		return nil
	}
	text := l.Config(o.conf(f))
	if err := os.WriteFile(f.Config(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the server's configuration: %w", err)
	}
	return nil
}

// checkStamp keeps a lab from going on with the data of another one.
func checkStamp(o Options, l layout.Layout, f layout.Folder) error {
	want := stamp{Format: format, Profile: o.Profile, Replicas: l.Replicas}
	if l.Replicas > 0 {
		want.BasePort = l.BasePort
	}
	b, err := os.ReadFile(f.Stamp())
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = json.Marshal(want); err != nil {
			return fmt.Errorf("encode the stamp: %w", err)
		}
		if err := os.WriteFile(f.Stamp(), append(b, '\n'), 0o600); err != nil {
			return fmt.Errorf("write the stamp: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the stamp: %w", err)
	}
	var got stamp
	remedy := fmt.Sprintf("remove it (rm -r %s) or choose another --data", o.Data)
	switch err := json.Unmarshal(b, &got); {
	case err != nil:
		return fmt.Errorf("%s is damaged (%w): %s", f.Stamp(), err, remedy)
	case got.Format != want.Format:
		return fmt.Errorf("%s holds data of another version of the lab (%d, this is %d): %s", o.Data, got.Format, want.Format, remedy)
	case got.Profile != want.Profile:
		return fmt.Errorf("%s holds a lab of profile %s: run it with --profile %s, or %s", o.Data, got.Profile, got.Profile, remedy)
	case got.Replicas != want.Replicas:
		return fmt.Errorf("%s holds a lab with --replicas %d: run it so, or %s", o.Data, max(got.Replicas, 1), remedy)
	case got.BasePort != 0 && got.BasePort != want.BasePort:
		return fmt.Errorf("%s holds replicas that reach each other by --base-port %d: run it so, or %s", o.Data, got.BasePort, remedy)
	}
	return nil
}

// checkPorts asks for each port before anything is started, so that the answer is a sentence and not a log full
// of restarts.
func checkPorts(o Options, l layout.Layout) error {
	ports := l.Ports()
	for _, e := range l.Edges() {
		ports[e.Listen] = "the cable " + e.Name()
	}
	addrs := make([]string, 0, len(ports))
	for a := range ports {
		addrs = append(addrs, a)
	}
	slices.Sort(addrs)
	for _, a := range addrs {
		if err := free(a); err != nil {
			return fmt.Errorf("port %s (%s) cannot be had: %w: end what listens there, or choose another --base-port (make run FLAGS=\"--base-port 19400\")", a, ports[a], err)
		}
	}
	if o.NoServer {
		return nil
	}
	if err := free(o.Listen); err != nil {
		return fmt.Errorf("port %s (the server) cannot be had: %w: end what listens there, or choose another --listen (make run FLAGS=\"--listen 127.0.0.1:9450\")", o.Listen, err)
	}
	return nil
}

func free(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if sys, ok := errors.AsType[syscall.Errno](err); ok {
			return sys
		}
		return err
	}
	return ln.Close()
}

// clearKnobs forgets the faults of the last run.
func clearKnobs(f layout.Folder) error {
	entries, err := os.ReadDir(f.Knobs())
	if err != nil {
		return fmt.Errorf("read the knobs: %w", err)
	}
	for _, e := range entries {
		if err := os.Remove(f.Knobs() + "/" + e.Name()); err != nil {
			return fmt.Errorf("clear the knobs: %w", err)
		}
	}
	return nil
}
