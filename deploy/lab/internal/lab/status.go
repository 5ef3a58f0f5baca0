package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/bus"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/director"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/users"
)

// Status is everything about a lab at one time. What could not be asked is absent, not zero.
type Status struct {
	AtNS      int64                     `json:"at_unix_ns"`
	Ready     bool                      `json:"ready"`
	Profile   string                    `json:"profile"`
	Layout    layout.Layout             `json:"layout"`
	Server    string                    `json:"server,omitempty"`   // URL, of the first replica where there are some; empty without a server
	Replicas  []Replica                 `json:"replicas,omitempty"` // empty with one server
	Operator  string                    `json:"operator,omitempty"` // flags of an operator's commands; empty before the server is ready
	Director  string                    `json:"director"`           // URL that users ask
	UpSeconds float64                   `json:"up_s"`
	Processes []supervise.Status        `json:"processes"`
	Faults    []layout.Fault            `json:"faults"`
	Cables    map[string]string         `json:"cables"` // all that do not simply pass, by name
	Weights   map[string]map[string]int `json:"weights,omitempty"`
	Users     *users.Stats              `json:"users,omitempty"` // of the last 10 s
	Executed  []director.Executed       `json:"executed"`
	Links     []bus.LinkStatus          `json:"links"` // of sites that answer
}

// Status asks around.
func (b *Lab) Status(ctx context.Context) Status {
	now := time.Now()
	s := Status{
		AtNS: now.UnixNano(), Profile: b.o.Profile, Layout: b.l, Director: "http://" + b.l.Director() + "/" + layout.Service,
		UpSeconds: now.Sub(b.began).Seconds(), Processes: b.sup.Statuses(), Cables: map[string]string{},
		Executed: []director.Executed{}, Links: []bus.LinkStatus{}, Faults: []layout.Fault{},
	}
	if !b.o.NoServer {
		s.Server = "http://" + b.l.Server
	}
	b.mu.Lock()
	s.Ready = b.ready
	if b.ready && !b.o.NoServer {
		s.Operator = b.operator()
	}
	s.Faults = append(s.Faults, b.active...)
	u := b.users
	b.mu.Unlock()
	s.Replicas = b.replicas(ctx)
	for name, c := range b.cables {
		if m := c.Mode(); m != (proxy.Mode{}) {
			s.Cables[name] = m.String()
		}
	}
	if u != nil {
		stats := u.Window(now, 10)
		s.Users = &stats
	}
	var d director.Status
	if b.ask(ctx, "http://"+b.l.DirectorAdmin()+"/status", &d) == nil {
		s.Weights = d.Weights
		s.Executed = append(s.Executed, d.Executed...)
	}
	for _, site := range b.l.Sites {
		c := b.child("nats-" + site)
		if c == nil || c.Status().State != supervise.Running {
			continue // a frozen one would only cost its time-out
		}
		var n bus.Status
		if b.ask(ctx, "http://"+b.l.BusAdmin(site)+"/status", &n) == nil {
			s.Links = append(s.Links, n.Links...)
		}
	}
	slices.SortFunc(s.Links, func(x, y bus.LinkStatus) int { return strings.Compare(x.Link, y.Link) })
	return s
}

// Text is the status for people.
func (s Status) Text() string {
	var t strings.Builder
	state := "starting"
	if s.Ready {
		state = "ready"
	}
	fmt.Fprintf(&t, "lab %s, %s, up %s\n", s.Profile, state, time.Duration(s.UpSeconds*float64(time.Second)).Round(time.Second))
	if s.Server != "" && len(s.Replicas) == 0 {
		fmt.Fprintf(&t, "server    %s\n", s.Server)
	}
	if s.Operator != "" {
		fmt.Fprintf(&t, "operator  bin/evenkeel-server COMMAND %s\n", s.Operator)
	}
	fmt.Fprintf(&t, "users     %s  %s\n", s.Director, s.usersText())
	for service, weights := range s.Weights {
		fmt.Fprintf(&t, "weights   %s:", service)
		for _, site := range s.Layout.Sites {
			fmt.Fprintf(&t, "  %s %d %%", site, weights[site])
		}
		t.WriteByte('\n')
	}
	if len(s.Replicas) > 0 {
		t.WriteString("\nreplicas\n")
	}
	for _, r := range s.Replicas {
		role := r.Role
		if role == "" {
			role = "no answer"
		}
		fmt.Fprintf(&t, "  %-3s at %-4s %-10s %-8s pid %-8d %s\n", r.Name, r.At, role, r.State, r.PID, r.URL)
	}
	t.WriteString("\nprocesses\n")
	for _, p := range s.Processes {
		fmt.Fprintf(&t, "  %-11s %-8s pid %-8d restarts %d\n", p.Name, p.State, p.PID, p.Restarts)
	}
	t.WriteString("\nfaults\n")
	if len(s.Faults) == 0 {
		t.WriteString("  none\n")
	}
	for _, f := range s.Faults {
		fmt.Fprintf(&t, "  %s\n", f)
	}
	if len(s.Links) > 0 {
		t.WriteString("\nreplication\n")
	}
	for _, l := range s.Links {
		behind := "behind unknown"
		if l.State == bus.CaughtUp || l.State == bus.CatchingUp {
			behind = fmt.Sprintf("behind %d", l.Behind)
		}
		fmt.Fprintf(&t, "  %-16s %-15s applied %-8d %s\n", l.Link, l.State, l.Applied, behind)
	}
	if len(s.Executed) > 0 {
		t.WriteString("\nexecuted commands\n")
	}
	for _, e := range s.Executed[max(0, len(s.Executed)-10):] {
		fmt.Fprintf(&t, "  %s  %s %s at %s to %d %%%s\n", time.Unix(0, e.AtNS).Format("15:04:05.000"), e.Type, e.Service, e.Site,
			e.Weight, map[bool]string{false: " (changed nothing)"}[e.Effective])
	}
	return t.String()
}

func (s Status) usersText() string {
	if s.Users == nil || s.Users.Success == nil {
		return "no answers yet"
	}
	text := fmt.Sprintf("%.1f requests/s, %.2f %% success over 10 s", s.Users.Rate, *s.Users.Success*100)
	if s.Users.P50MS != nil && s.Users.P99MS != nil {
		text += fmt.Sprintf(", median %.0f ms, p99 %.0f ms", *s.Users.P50MS, *s.Users.P99MS)
	}
	return text
}
