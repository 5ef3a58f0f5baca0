package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/decide"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

const (
	freezeAhead = 48 * time.Hour // how far windows are expanded
	freezeEvery = time.Hour
	canaryEvery = 5 * time.Second
	canaryWait  = 2 * time.Second
	trimEvery   = time.Hour
)

// AdminTokenFile is where the first start leaves the admin token, inside the data directory.
const AdminTokenFile = "admin.token"

// nextSuffix is put behind the name of the admin token's file until the ledger knows the token.
const nextSuffix = ".next"

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// freezes expands the windows of a configuration around now.
func freezes(c config.Config, now time.Time) ([]core.Freeze, error) {
	windows := make([]calendar.Window, len(c.Freezes))
	for i, f := range c.Freezes {
		windows[i] = f.Window()
	}
	out, err := calendar.Expand(windows, now.Add(-freezeEvery), now.Add(freezeAhead))
	if err != nil {
		return nil, fmt.Errorf("expand freezes: %w", err)
	}
	return out, nil
}

// every calls f at each turn of a ticker, the first time after one turn, until ctx ends.
func every(ctx context.Context, turn time.Duration, f func(now time.Time)) {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			f(now)
		}
	}
}

// watchFreezes keeps the expanded windows ahead of the clock.
func (s *Server) watchFreezes(ctx context.Context) {
	if len(s.config.Freezes) == 0 {
		return
	}
	every(ctx, freezeEvery, func(now time.Time) {
		windows, err := freezes(s.config, now)
		if err != nil {
			s.room("app").Error("freezes not expanded", slog.Any("error", err))
			return
		}
		t := s.world.change(func(t *core.Topology) { t.Freezes = windows })
		s.send(input{Input: decide.Input{At: now, Topology: &t}})
	})
}

// trim keeps the ledger to the days it is meant to hold. What is removed is appended to an archive in the data directory
// first, a file a month, at the replica that leads.
func (s *Server) trim(ctx context.Context) {
	every(ctx, trimEvery, func(now time.Time) {
		for s.ledger.Leading() {
			removed, err := s.trimOnce(ctx, now)
			if err != nil && ctx.Err() == nil {
				s.room("app").Warn("ledger not trimmed", slog.Any("error", err))
			}
			if err != nil || removed == 0 {
				return
			}
		}
	})
}

func (s *Server) trimOnce(ctx context.Context, now time.Time) (removed int, err error) {
	dir := filepath.Join(s.opts.DataDir, "archive")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("make the archive: %w", err)
	}
	path := filepath.Join(dir, "ledger-"+now.UTC().Format("2006-01")+".jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the archive: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.ledger.Trim(ctx, now.Add(-ledger.KeepFor), synced{f})
}

// synced is a file in which each write is on the disk before it returns.
type synced struct{ *os.File }

func (f synced) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err == nil {
		err = f.Sync()
	}
	return n, err
}

// canaries asks whether this server reaches what it commands: its own doubt about its own network.
func (s *Server) canaries(ctx context.Context) {
	var addrs []string
	for _, t := range s.config.Targets {
		if u, err := url.Parse(t.URL); err == nil {
			port := u.Port()
			if port == "" {
				port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
			}
			addrs = append(addrs, net.JoinHostPort(u.Hostname(), port))
		}
	}
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if len(addrs) == 0 {
		return
	}
	ticker := time.NewTicker(canaryEvery)
	defer ticker.Stop()
	dialer := net.Dialer{Timeout: canaryWait}
	for {
		reached := false
		for _, addr := range addrs {
			conn, err := dialer.DialContext(ctx, "tcp", addr)
			if err == nil {
				conn.Close() //nolint:errcheck,gosec // nothing was written
				reached = true
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.eyes.Canary(reached)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// firstToken makes the admin token of a new installation and leaves it in the data directory, readable by its
// owner alone. When the ledger has an admin already, nothing happens.
//
// Each of several replicas has one of its own, so that its commands work on each machine.
func (s *Server) firstToken(ctx context.Context) error {
	tokens, err := s.ledger.ListTokens(ctx)
	if err != nil {
		return err
	}
	path := filepath.Join(s.opts.DataDir, AdminTokenFile)
	if err := s.takeUpToken(ctx, path); err != nil {
		return err
	}
	name := "admin"
	if s.several() {
		name = adminOf(s.opts.Replica)
	}
	_, err = os.Stat(path)
	gone := errors.Is(err, fs.ErrNotExist)
	switch known := slices.ContainsFunc(tokens, func(c core.Credential) bool {
		return c.Kind == "admin" && (!s.several() || c.Name == name)
	}); {
	case !known:
	case gone && s.joinedNow:
		s.revokeTokens(ctx, tokens, name) // they were on the disk that is lost
	case gone && s.pending() != "":
		name += "-restored" // with the machines of the backup its tokens may be lost
	case gone:
		s.room("app").Warn("admin token file is gone, the token itself is still valid", slog.String("path", path), slog.String("remedy",
			"where a token is: evenkeel-server token create --kind admin --name "+name+"-2 --out FILE, and carry the file here"))
		return nil
	default:
		return nil
	}
	// The text is on the disk before it is valid: after a kill in between nobody is locked out.
	secret := ledger.NewToken(ledger.TokenAdmin)
	if err := writeWhole(path+nextSuffix, func(w io.Writer) error {
		_, err := io.WriteString(w, secret.Reveal()+"\n")
		return err
	}); err != nil {
		return tokenNotWritten(err)
	}
	write, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	_, err = s.ledger.KeepToken(write, secret, ledger.TokenAdmin, name, nil)
	if err != nil && s.several() {
		s.room("app").Warn("no admin token of this replica made; the next start tries again", slog.Any("error", err))
		return nil // it reads without one, and the others may be away for now
	}
	if err != nil {
		return err
	}
	return s.takeUpToken(ctx, path)
}

// takeUpToken gives the file of the admin token its name once the ledger knows the token in it: at the first start, or at the
// one after a kill. One that the ledger does not know stays aside.
func (s *Server) takeUpToken(ctx context.Context, path string) error {
	text, err := os.ReadFile(path + nextSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return tokenNotWritten(err)
	}
	who, err := s.ledger.Authenticate(ctx, strings.TrimSpace(string(text)))
	if err != nil || who.Kind != ledger.TokenAdmin {
		return nil
	}
	if err := os.Rename(path+nextSuffix, path); err != nil {
		return tokenNotWritten(err)
	}
	s.room("app").Info("admin token written", slog.String("path", path))
	return nil
}

func tokenNotWritten(err error) error {
	return &core.Error{
		Code: core.CodeUnavailable, Message: "the admin token cannot be written", Err: err,
		Hint: "make the data directory and its " + AdminTokenFile + " writable, then start again",
	}
}

// adminOf is the name of a replica's own admin token.
func adminOf(replica string) string { return "admin-" + replica }

// revokeTokens ends the admin tokens of a name.
func (s *Server) revokeTokens(ctx context.Context, tokens []core.Credential, name string) {
	for _, t := range tokens {
		if t.Kind != "admin" || t.Name != name {
			continue
		}
		if err := s.ledger.RevokeToken(ctx, t.ID); err != nil {
			s.room("app").Warn("admin token of a replica that is gone not revoked; revoke it by hand", slog.String("id", t.ID), slog.Any("error", err))
		}
	}
}
