package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Agent is bin/evenkeel-agent of one site, without a lab around it.
type Agent struct {
	Site    string
	Data    string   // its folder: identity, topology, queues
	OTLP    string   // address of its door for applications
	Process *Process // the present one; nil between Kill and Start
	program string
	args    []string
}

// NewAgent writes the token into dir and prepares an agent that ships to the servers; n tells agents apart that share a
// block of ports. Every setting that is not given is the default.
func NewAgent(p Programs, dir string, ports *Ports, n int, site, token string, servers []string, more ...string) (*Agent, error) {
	a := &Agent{Site: site, Data: filepath.Join(dir, "agent-"+site), OTLP: ports.Addr(500 + 2*n), program: p.Agent}
	tokenFile := filepath.Join(dir, "agent-"+site+".token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the token: %w", err)
	}
	a.args = append([]string{
		"run", "--role", "site", "--site", site, "--servers", strings.Join(servers, ","), "--token-file", tokenFile,
		"--data", a.Data, "--otlp", a.OTLP, "--health", ports.Addr(501 + 2*n),
	}, more...)
	return a, nil
}

// Start starts the process, again after an end, and waits until its door for applications is open.
func (a *Agent) Start() error {
	p, err := StartProcess(a.program, a.args...)
	if err != nil {
		return err
	}
	a.Process = p
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	err = Until(time.Minute, "the agent at "+a.Site+" takes metrics", func() error {
		select {
		case <-p.Ended():
			return &Never{fmt.Errorf("it has ended: %w", p.Wait(0))}
		default:
		}
		resp, err := client.Get("http://" + a.OTLP + "/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("%w\nit said:\n%s", err, p.Output())
	}
	return nil
}

// Kill is kill -9, and waits until the process is gone.
func (a *Agent) Kill() {
	if a.Process != nil {
		a.Process.Kill()
		a.Process = nil
	}
}

// Stop ends the agent as a supervisor does, and fails unless it ends well.
func (a *Agent) Stop() error {
	if a.Process == nil {
		return nil
	}
	p := a.Process
	a.Process = nil
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the agent: %w\n%s", err, p.Output())
	}
	if err := p.Wait(30 * time.Second); err != nil {
		p.Kill()
		return fmt.Errorf("the agent did not end well: %w\n%s", err, p.Output())
	}
	return nil
}

// Memory is what a process holds, in bytes: its own pages, and pages of files it has mapped, which the kernel may take
// back at any time.
type Memory struct{ Own, Files int64 }

// MemoryOf reads it from the kernel.
func MemoryOf(pid int) (Memory, error) {
	var m Memory
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, fmt.Errorf("read the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		name, text, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
		switch {
		case name == "RssAnon" && err == nil:
			m.Own = kib << 10
		case name == "RssFile" && err == nil:
			m.Files = kib << 10
		}
	}
	if m.Own == 0 {
		return m, fmt.Errorf("process %d has no memory: it has ended", pid)
	}
	return m, nil
}

// QueueSize is how many bytes the agent's queues take on disk.
func (a *Agent) QueueSize() (int64, error) {
	files, err := filepath.Glob(filepath.Join(a.Data, "queue", "*"))
	if err != nil {
		return 0, fmt.Errorf("list the queues: %w", err)
	}
	sum := int64(0)
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return 0, fmt.Errorf("look at a queue: %w", err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, fmt.Errorf("%s has no size on disk", path)
		}
		sum += stat.Blocks * 512
	}
	return sum, nil
}
