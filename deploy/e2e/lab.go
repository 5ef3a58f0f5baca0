package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// LabOptions say which lab to start. Programs and Dir are required.
type LabOptions struct {
	Programs Programs
	Dir      string // an empty or new folder; its path must be short, a socket lies in it
	Profile  string // three or two; empty is three
	Shipped  bool   // the holds of a real installation
	// Edit changes the generated configuration before the start; nil leaves it to the lab.
	Edit func(config string) string
	Args []string // more flags for `run`
}

// Lab is a running lab.
type Lab struct {
	*Client
	Data    string
	Ports   *Ports
	Process *Process
	o       LabOptions
}

// StartLab starts a lab on free ports and waits until it is ready and every site is heard.
func StartLab(ctx context.Context, o LabOptions) (*Lab, error) {
	if o.Profile == "" {
		o.Profile = "three"
	}
	ports, err := ClaimPorts()
	if err != nil {
		return nil, err
	}
	b := &Lab{Data: filepath.Join(o.Dir, "d"), Ports: ports, o: o}
	b.Client = NewClient(ports.Addr(590), filepath.Join(b.Data, "server"))
	args := []string{
		"run", "--data", b.Data, "--profile", o.Profile, "--base-port", strconv.Itoa(ports.Base), "--listen", ports.Addr(590),
		"--server-bin", o.Programs.Server, "--agent-bin", o.Programs.Agent,
	}
	if o.Edit == nil && o.Shipped {
		args = append(args, "--shipped-holds")
	}
	if o.Edit != nil {
		path, err := b.config(ctx)
		if err != nil {
			ports.Release()
			return nil, err
		}
		args = append(args, "--config", path)
	}
	if b.Process, err = StartProcess(o.Programs.Lab, append(args, o.Args...)...); err != nil {
		ports.Release()
		return nil, err
	}
	if err := b.risen(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\nthe lab said:\n%s", err, b.Process.Output()), b.Kill())
	}
	return b, nil
}

// config writes the edited configuration beside the data.
func (b *Lab) config(ctx context.Context) (string, error) {
	args := []string{"config", "--profile", b.o.Profile, "--data", b.Data, "--base-port", strconv.Itoa(b.Ports.Base)}
	if b.o.Shipped {
		args = append(args, "--shipped-holds")
	}
	text, err := exec.CommandContext(ctx, b.o.Programs.Lab, args...).Output()
	if err != nil {
		return "", fmt.Errorf("print the lab's configuration: %w", err)
	}
	path := filepath.Join(b.o.Dir, "evenkeel.yaml")
	if err := os.WriteFile(path, []byte(b.o.Edit(string(text))), 0o600); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return path, nil
}

func (b *Lab) risen(ctx context.Context) error {
	err := Until(2*time.Minute, "the lab is ready", func() error {
		select {
		case <-b.Process.Ended():
			return &Never{errors.New("it has ended")}
		default:
		}
		s, err := b.LabStatus(ctx)
		if err == nil && !s.Ready {
			err = errors.New("it is starting")
		}
		return err
	})
	if err != nil {
		return err
	}
	return b.Calm(ctx, time.Minute)
}

// Calm waits until every vantage is heard, every subject is healthy and the edge reports.
func (b *Lab) Calm(ctx context.Context, patience time.Duration) error {
	return Until(patience, "all is calm", func() error {
		o, err := b.Conditions(ctx)
		if err != nil {
			return err
		}
		for _, w := range o.Writers {
			if !w.Fresh {
				return fmt.Errorf("%s %s is not heard", w.Kind, w.Name)
			}
		}
		for _, a := range o.Assessments {
			if a.Condition != "healthy" {
				return errors.New(a.Sentence)
			}
		}
		known := 0
		for _, t := range o.Traffic {
			if t.Known && t.WeightKnown {
				known++
			}
		}
		if len(o.Writers) < 4 || known < 2 || o.Tilt.On {
			return fmt.Errorf("%d writers, traffic of %d sites, tilt %v", len(o.Writers), known, o.Tilt)
		}
		return nil
	})
}

// LabStatus is the lab's own word about itself.
type LabStatus struct {
	Ready     bool `json:"ready"`
	Processes []struct {
		Name     string `json:"name"`
		PID      int    `json:"pid"`
		State    string `json:"state"`
		Restarts int    `json:"restarts"`
	} `json:"processes"`
	Weights map[string]map[string]int `json:"weights"`
	Users   *struct {
		Sent    int      `json:"sent"`
		OK      int      `json:"ok"`
		Success *float64 `json:"success"`
		P99MS   *float64 `json:"p99_ms"`
	} `json:"users"`
}

// Event is the begin or the end of a fault.
type Event struct {
	Event  string `json:"event"`
	AtNS   int64  `json:"at_unix_ns"`
	DoneNS int64  `json:"done_unix_ns"`
	Text   string `json:"text"`
	Error  string `json:"error"`
}

// At is when the fault began to be done.
func (e Event) At() time.Time { return time.Unix(0, e.AtNS) }

// Executed is one command that the lab's executor took.
type Executed struct {
	AtNS      int64  `json:"at_unix_ns"`
	ID        string `json:"id"`
	ActionID  string `json:"action_id"`
	Type      string `json:"type"`
	Site      string `json:"site"`
	Weight    int    `json:"weight"`
	Effective bool   `json:"effective"`
	Lying     bool   `json:"lying"`
	Seq       int64  `json:"seq"`
}

// Command runs a command of the lab's program against this lab.
func (b *Lab) Command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.o.Programs.Lab, append(args, "--data", b.Data)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("evenkeel-lab %v: %w: %s", args, err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out, nil
}

// LabStatus asks the lab.
func (b *Lab) LabStatus(ctx context.Context) (LabStatus, error) {
	var s LabStatus
	out, err := b.Command(ctx, "status", "--json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read the lab's status: %w", err)
	}
	return s, nil
}

// Fault breaks something, as it would be typed: "fra", "kill".
func (b *Lab) Fault(ctx context.Context, words ...string) (Event, error) {
	var e Event
	out, err := b.Command(ctx, append([]string{"fault", "--json"}, words...)...)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(out, &e); err != nil {
		return e, fmt.Errorf("read the lab's answer: %w", err)
	}
	if e.Error != "" {
		return e, errors.New(e.Error)
	}
	return e, nil
}

// Heal mends a site, or everything without one.
func (b *Lab) Heal(ctx context.Context, site ...string) error {
	_, err := b.Command(ctx, append([]string{"heal", "--json"}, site...)...)
	return err
}

// Executed are all commands that the executor took, in order.
func (b *Lab) Executed() ([]Executed, error) {
	file, err := os.Open(filepath.Join(b.Data, "executed.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the executor's list: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var out []Executed
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e Executed
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return out, fmt.Errorf("read the executor's list: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// Stop interrupts the lab as Ctrl-C does, and fails unless it ends by itself, without an error, and leaves nothing.
func (b *Lab) Stop() error {
	defer b.Ports.Release()
	if err := b.Process.Signal(syscall.SIGINT); err != nil {
		return errors.Join(fmt.Errorf("interrupt the lab: %w\n%s", err, b.Process.Output()), b.Kill())
	}
	if err := b.Process.Wait(time.Minute); err != nil {
		return errors.Join(fmt.Errorf("the lab did not end well: %w\n%s", err, b.Process.Output()), b.Kill())
	}
	left, err := Left(b.Data)
	if err == nil && len(left) > 0 {
		err = errors.Join(fmt.Errorf("processes %v are left after the lab's end", left), b.Kill())
	}
	return err
}

// Kill ends the lab and everything of it at once; it may have ended before.
func (b *Lab) Kill() error {
	defer b.Ports.Release()
	b.Process.Kill()
	return Until(20*time.Second, "no process of the lab is left", func() error {
		left, err := Left(b.Data)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it belongs to this lab's data folder
		}
		return fmt.Errorf("processes %v are alive", left)
	})
}
