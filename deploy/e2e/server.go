package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Server is bin/evenkeel-server alone, without a lab around it.
type Server struct {
	*Client
	Ports    *Ports
	Process  *Process // the present one; nil between Kill and Start
	programs Programs
	dir      string
}

// StartServer writes the configuration into dir and starts a server with its data there, on the last ports of the block.
func StartServer(ctx context.Context, p Programs, dir string, ports *Ports, config string) (*Server, error) {
	s := &Server{Client: NewClient(ports.Addr(590), filepath.Join(dir, "server")), Ports: ports, programs: p, dir: dir}
	if err := os.WriteFile(s.config(), []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	if err := s.AwaitReady(ctx); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

func (s *Server) config() string { return filepath.Join(s.dir, "evenkeel.yaml") }

// Start starts the process, again after a Kill, and does not wait for it to be ready.
func (s *Server) Start() error {
	p, err := StartProcess(s.programs.Server, "serve", "--config", s.config(), "--data", s.Data,
		"--listen", s.Ports.Addr(590), "--admin-listen", s.Ports.Addr(591))
	if err != nil {
		return err
	}
	s.Process = p
	return nil
}

// AwaitReady waits until the server can record and act.
func (s *Server) AwaitReady(ctx context.Context) error {
	err := Until(time.Minute, "the server is ready", func() error {
		select {
		case <-s.Process.Ended():
			return &Never{errors.New("it has ended")}
		default:
			return s.Ready(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("%w\nit said:\n%s", err, s.Process.Output())
	}
	return nil
}

// Kill is kill -9, and waits until the process is gone.
func (s *Server) Kill() {
	if s.Process != nil {
		s.Process.Kill()
		s.Process = nil
	}
}

// Stop ends the server as a supervisor does, and fails unless it ends well and leaves nothing.
func (s *Server) Stop() error {
	if s.Process == nil {
		return nil
	}
	p := s.Process
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the server: %w\n%s", err, p.Output())
	}
	if err := p.Wait(30 * time.Second); err != nil {
		p.Kill()
		return fmt.Errorf("the server did not end well: %w\n%s", err, p.Output())
	}
	s.Process = nil
	left, err := Left(s.Data)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("processes %v are left after the server's end", left)
	}
	return err
}

// Command runs an operator's command of the server's program against it.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.programs.Server, append(args, "--server", s.URL, "--data", s.Data)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("evenkeel-server %v: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Token makes a token by the command line and returns its text.
func (s *Server) Token(ctx context.Context, kind, name string) (string, error) {
	path := filepath.Join(s.dir, kind+"-"+name+".token")
	if _, err := s.Command(ctx, "token", "create", "--kind", kind, "--name", name, "--out", path); err != nil {
		return "", err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
