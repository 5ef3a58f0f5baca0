package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
)

// story tells on the terminal what happens: the faults, and what the server makes of them.
type story struct {
	mu     sync.Mutex
	out    io.Writer
	quiet  bool
	colour bool
}

func newStory(out io.Writer, quiet bool) *story {
	return &story{out: out, quiet: quiet, colour: terminal(out) && os.Getenv("NO_COLOR") == ""}
}

// terminal reports whether somebody looks.
func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Colours of the lines, as ANSI codes.
const (
	plain  = ""
	grey   = "90"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "36"
)

func (s *story) line(at time.Time, colour, who, text string) {
	if s.quiet {
		return
	}
	text = strings.ReplaceAll(printable(text), "\n", "\n"+strings.Repeat(" ", 24))
	body := fmt.Sprintf("%-9s %s", printable(who), text)
	if s.colour && colour != plain {
		body = "\x1b[" + colour + "m" + body + "\x1b[0m"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, "%s  %s\n", at.Local().Format("15:04:05.000"), body) // nobody is left to tell
}

// printable shows the control characters of a text that came from elsewhere, and those that turn its direction. Raw
// ones could rewrite what the terminal shows. A new line stays.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// say is a word of the lab itself.
func (s *story) say(format string, args ...any) {
	s.line(time.Now(), plain, "lab", fmt.Sprintf(format, args...))
}

// fault is the begin or end of a fault.
func (s *story) fault(at time.Time, what string, f layout.Fault) {
	if what == "start" {
		s.line(at, red, "fault", f.String())
		return
	}
	s.line(at, green, "mended", f.String())
}

// sentence is one line of the server's timeline.
type sentence struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Sentence string    `json:"sentence"`
	Seq      int64     `json:"seq"`
	N        int       `json:"n"`
}

// follow tells the lines of the servers, which are the same at each, from since on until ctx ends. It reads them at one
// that answers; while none does it waits. Of several it also tells who leads, once that one says so itself: the others
// take a dead leader for the leader until its time is over.
func (s *story) follow(ctx context.Context, client *http.Client, servers []string, since time.Time) {
	after, at, lead := int64(-1), 0, ""
	for rest(ctx, 500*time.Millisecond) {
		lines, err := timeline(ctx, client, servers[at], after)
		if err != nil {
			at = (at + 1) % len(servers)
			continue
		}
		for _, l := range lines {
			after = max(after, l.Seq)
			if l.At.After(since) {
				s.line(l.At, shade(l.Kind), l.Kind, strings.ReplaceAll(l.Sentence, "\n", `\n`))
			}
		}
		after = max(after, 0)
		if len(servers) == 1 {
			continue
		}
		if l, err := leadership(ctx, client, servers[at]); err == nil && l.text() != lead && confirmed(ctx, client, servers, l) {
			lead = l.text()
			s.line(time.Now(), blue, "leader", lead)
		}
	}
}

func shade(kind string) string {
	switch kind {
	case "condition":
		return yellow
	case "action", "step":
		return blue
	case "decision", "command":
		return plain
	}
	return grey
}

// timeline gets the lines after a seq; below zero the newest.
func timeline(ctx context.Context, client *http.Client, server string, after int64) ([]sentence, error) {
	url := server + "/api/v1/timeline?limit=200"
	if after >= 0 {
		url += "&after=" + strconv.FormatInt(after, 10)
	}
	var lines []sentence
	return lines, ask(ctx, client, url, &lines)
}
