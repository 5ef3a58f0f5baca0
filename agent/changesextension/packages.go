package changesextension

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	lookEvery = 10 * time.Second
	// settles is how long after packages have changed what runs of them may behave otherwise.
	settles      = 10 * time.Minute
	namedInWhat  = 3
	mostPackages = 100_000
)

// packages declares a change when versions of installed packages have changed. One goroutine owns it.
type packages struct {
	path    string
	log     *zap.Logger
	declare func(Change) error

	known   map[string]string // version by name; nil: never read
	seen    time.Time         // change of the file at the last look
	since   time.Time         // the first look at which it was newer than what is known; zero: it is not
	trouble bool
}

func (p *packages) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		p.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reads the file once it has been left alone between two looks: an upgrade writes it many times.
func (p *packages) look(now time.Time) {
	info, err := os.Stat(p.path)
	if err != nil {
		p.tell(err)
		return
	}
	moved := !info.ModTime().Equal(p.seen)
	p.seen = info.ModTime()
	if p.known != nil && moved {
		if p.since.IsZero() {
			p.since = now
		}
		return
	}
	if p.known != nil && p.since.IsZero() {
		return
	}
	file, err := os.Open(p.path)
	if err != nil {
		p.tell(err)
		return
	}
	installed, err := parsePackages(file)
	_ = file.Close()
	p.tell(err)
	if err != nil {
		return
	}
	what := ""
	if p.known != nil {
		what = differences(p.known, installed)
	}
	if what != "" {
		c, err := Request{What: what, Source: "dpkg", Start: &p.since, TTL: (now.Sub(p.since) + settles).Seconds()}.change(now)
		if err == nil {
			err = p.declare(c)
		}
		if err != nil {
			p.log.Warn("a change of packages cannot be declared", zap.Error(err))
		}
	}
	p.known, p.since = installed, time.Time{}
}

func (p *packages) tell(err error) {
	if err != nil && !p.trouble {
		p.log.Warn("installed packages cannot be read, their changes are not declared", zap.Error(err))
	}
	p.trouble = err != nil
}

// parsePackages reads the versions of what is installed out of dpkg's status file: stanzas of "Field: value", with empty
// lines between (deb-control(5), dpkg(1)).
func parsePackages(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	var name, version, arch string
	installed := false
	end := func() {
		if installed && name != "" {
			out[name+arch] = version
		}
		name, version, arch, installed = "", "", "", false
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "":
			end()
		case "Package":
			name = value
		case "Version":
			version = value
		case "Architecture":
			if arch = ":" + value; value == "all" {
				arch = ""
			}
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		}
		if len(out) > mostPackages {
			return nil, fmt.Errorf("more than %d packages", mostPackages)
		}
	}
	end()
	return out, lines.Err()
}

// differences says what became of packages, the first few by name; empty: nothing.
func differences(before, after map[string]string) string {
	names := maps.Clone(before)
	maps.Copy(names, after)
	var said []string
	more := 0
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := before[name]
		is, has := after[name]
		text := ""
		short, _, _ := strings.Cut(name, ":")
		switch {
		case had && !has:
			text = "removed " + short
		case !had:
			text = "installed " + short + " " + is
		case was != is:
			text = short + " " + was + " -> " + is
		default:
			continue
		}
		if len(said) == namedInWhat {
			more++
			continue
		}
		said = append(said, text[:min(len(text), 55)])
	}
	if more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	if len(said) == 0 {
		return ""
	}
	return "packages: " + strings.Join(said, ", ")
}
