package changesextension

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Change is what a server is told. The site is not in it: that is the token's.
type Change struct {
	ID      string    `json:"id"`
	Service string    `json:"service"` // all: the whole site
	What    string    `json:"what"`
	Source  string    `json:"source,omitempty"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
}

// Request is what a client says at the door.
type Request struct {
	ID      string     `json:"id,omitempty"`      // made up when empty; with one it can be said again
	Service string     `json:"service,omitempty"` // all when empty
	What    string     `json:"what"`
	Source  string     `json:"source,omitempty"`
	Start   *time.Time `json:"start,omitempty"` // now when absent
	TTL     float64    `json:"ttl_s"`           // seconds, 1 to 86400
}

const (
	longest  = 24 * time.Hour
	late     = 24 * time.Hour // a server refuses what started earlier
	mostText = 200            // bytes
)

// change makes the change of a request, or says what is wrong with it. The server's own rules are the same.
func (r Request) change(now time.Time) (Change, error) {
	c := Change{ID: r.ID, Service: r.Service, What: strings.TrimSpace(r.What), Source: r.Source, Start: now}
	if c.ID == "" {
		c.ID = "chg_" + strings.ToLower(rand.Text()[:20])
	}
	if c.Service == "" {
		c.Service = "all"
	}
	if r.Start != nil {
		c.Start = *r.Start
	}
	c.Start = c.Start.UTC().Truncate(time.Millisecond)
	c.End = c.Start.Add(time.Duration(min(r.TTL, 2*longest.Seconds()) * float64(time.Second))).Truncate(time.Millisecond)
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`).MatchString(c.ID):
		return c, fmt.Errorf("id %.120q: use up to 100 letters, digits, dots, colons, dashes and underscores", c.ID)
	case c.What == "":
		return c, errors.New(`what is missing: say what is changed, as in "deploy checkout 1.4"`)
	case len(c.What) > mostText || len(c.Source) > mostText || len(c.Service) > mostText:
		return c, fmt.Errorf("what, service and source have at most %d bytes", mostText)
	case strings.ContainsFunc(c.What+c.Source+c.Service, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return c, errors.New("a text holds a control character: write plain text on one line")
	case r.TTL < 1 || c.End.Sub(c.Start) > longest:
		return c, errors.New("ttl_s is how long it takes: give 1 to 86400 seconds")
	case now.Sub(c.Start) > late:
		return c, errors.New("it started more than 24 h ago: declare changes when they begin")
	}
	return c, nil
}
