package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
)

// startServers starts the server, or those of the replicas that have been there before; in a new lab that is the first
// one, which begins the ledger.
func (b *Lab) startServers() error {
	servers := b.l.Servers()
	var old []layout.Server
	for _, s := range servers {
		_, err := os.Stat(b.f.State(s.Process()))
		if err == nil {
			old = append(old, s)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for the data of %s: %w", s.Process(), err)
		}
	}
	if len(old) == 0 {
		old = servers[:1]
	}
	b.first = old[0]
	for _, s := range slices.Backward(old) { // one that was taken in anew has no admin token in its folder
		if _, err := os.Stat(b.adminToken(s)); err == nil {
			b.first = s
		}
	}
	for _, s := range old {
		// Without any other one there is no ledger yet, or it is its own and the flag is passed over.
		if err := b.startServer(s, len(old) == 1 && s == servers[0]); err != nil {
			return err
		}
	}
	return nil
}

func (b *Lab) startServer(s layout.Server, begin bool) error {
	config := b.o.Config
	if config == "" {
		config = b.f.Config()
	}
	args := []string{"serve", "--config", config, "--data", b.f.State(s.Process()), "--listen", s.Listen, "--admin-listen", s.Admin}
	if s.At != "" {
		args = append(args, "--replica", s.Name)
		if _, err := os.Stat(b.f.Bundle(s.Name)); err == nil {
			args = append(args, "--join", b.f.Bundle(s.Name)) // passed over once it has joined
		} else if begin {
			args = append(args, "--bootstrap")
		}
	}
	return b.add(supervise.Spec{Name: s.Process(), Path: b.o.ServerBin, Log: b.f.Log(s.Process()), Args: args})
}

// riseFirst waits for the first server and begins to tell its story.
func (b *Lab) riseFirst(ctx context.Context) error {
	if err := b.untilFirst(ctx); err != nil {
		return b.withLog(err, b.first)
	}
	var urls []string
	for _, s := range b.l.Servers() {
		urls = append(urls, s.URL())
	}
	b.wg.Go(func() { b.story.follow(ctx, b.client, urls, b.began) })
	return nil
}

// riseReplicas takes in the replicas that are new here or have lost their data, and waits until all answer and one leads.
func (b *Lab) riseReplicas(ctx context.Context) error {
	if b.l.Replicas == 0 {
		return nil
	}
	for _, s := range b.l.Servers() {
		if b.child(s.Process()) == nil {
			if err := b.takeIn(ctx, s); err != nil {
				return err
			}
		}
		if err := b.until(ctx, b.called(s), s.URL()+"/readyz", serverPatience); err != nil {
			return b.withLog(err, s)
		}
	}
	// One without a vote yet would not be a majority with another.
	_, err := b.untilLed(ctx, b.first, b.l.Replicas)
	for _, s := range b.l.Servers() {
		if err == nil {
			b.led, err = b.untilLed(ctx, s, 0)
		}
	}
	return err
}

// untilLed waits until a replica has a majority with it, knows who leads and of so many that have a vote.
func (b *Lab) untilLed(ctx context.Context, s layout.Server, voters int) (layout.Server, error) {
	for end := time.Now().Add(serverPatience); time.Now().Before(end); {
		l, err := leadership(ctx, b.client, s.URL())
		if r, ok := b.l.Replica(l.Leader); err == nil && ok && l.Quorum && l.voters >= voters {
			return r, nil
		}
		if !rest(ctx, 100*time.Millisecond) {
			return layout.Server{}, context.Cause(ctx)
		}
	}
	return layout.Server{}, fmt.Errorf("the replicas did not come together within %s, says %s: see %s", serverPatience, s.Name, b.f.Logs())
}

// called is how the lab speaks of a server.
func (b *Lab) called(s layout.Server) string {
	if s.At == "" {
		return "the server"
	}
	return "replica " + s.Name
}

func (b *Lab) withLog(err error, s layout.Server) error {
	path := b.f.Log(s.Process())
	return fmt.Errorf("%w\nthe last of its log (%s):\n%s", err, path, tail(path, 1500))
}

// untilFirst waits for the first server, but not for one that cannot start.
func (b *Lab) untilFirst(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.wg.Go(func() {
		for rest(ctx, 200*time.Millisecond) {
			if st := b.child(b.first.Process()).Status(); st.Restarts >= 3 {
				cancel(fmt.Errorf("%s ends again and again (%s)", b.called(b.first), st.LastExit))
				return
			}
		}
	})
	return b.until(ctx, b.called(b.first), b.first.URL()+"/readyz", serverPatience)
}

// takeIn makes a bundle for a replica without data and starts it. The others are asked to replace it, which adds it where
// they do not know it. It takes some seconds: etcd wants the members to have seen each other for five before the next.
func (b *Lab) takeIn(ctx context.Context, s layout.Server) error {
	tmp := b.f.Bundle(s.Name) + ".new"
	var err error
	for end := time.Now().Add(serverPatience); time.Now().Before(end); {
		if err = b.order(ctx, "replica", "replace", s.Name, "--out", tmp, "--force"); err == nil {
			break
		}
		if !rest(ctx, 500*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("take replica %s in: %w", s.Name, err)
	}
	if err := os.Rename(tmp, b.f.Bundle(s.Name)); err != nil {
		return fmt.Errorf("keep the bundle of %s: %w", s.Name, err)
	}
	return b.startServer(s, false)
}

// restartReplica ends a replica in order and waits until it is back.
func (b *Lab) restartReplica(ctx context.Context, s layout.Server) error {
	c := b.child(s.Process())
	if c == nil {
		return fmt.Errorf("%s does not run", s.Process())
	}
	end, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	if err := c.Restart(end); err != nil {
		return err
	}
	return b.until(ctx, b.called(s), s.URL()+"/readyz", serverPatience)
}

// lead is who leads, as one replica knows it.
type lead struct {
	Self   string `json:"self"`
	Leader string `json:"leader"`
	Leads  bool   `json:"leads"`
	Quorum bool   `json:"quorum"`
	voters int    // members with a vote
}

func leadership(ctx context.Context, client *http.Client, server string) (lead, error) {
	var out struct {
		Leadership lead `json:"leadership"`
		Members    []struct {
			State string `json:"state"`
		} `json:"members"`
	}
	err := ask(ctx, client, server+"/api/v1/replicas", &out)
	for _, m := range out.Members {
		if m.State == "voter" {
			out.Leadership.voters++
		}
	}
	return out.Leadership, err
}

// confirmed reports whether the one that is said to lead says so itself; that nobody leads needs no other word.
func confirmed(ctx context.Context, client *http.Client, servers []string, l lead) bool {
	if !l.Quorum || l.Leader == "" || l.Leads {
		return true
	}
	return slices.ContainsFunc(servers, func(server string) bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second) // one that is frozen does not answer
		defer cancel()
		own, err := leadership(ctx, client, server)
		return err == nil && own.Leads && own.Self == l.Leader
	})
}

// text is that for the story.
func (l lead) text() string {
	switch {
	case !l.Quorum:
		return "no majority at " + l.Self + ": nothing acts"
	case l.Leader == "":
		return "nobody: nothing acts until a replica takes over"
	}
	return l.Leader + " leads"
}

// Role is what a replica says of itself.
type Role string

// Roles of a replica. One that does not answer has none.
const (
	Leads    Role = "leads"
	Follows  Role = "follows"
	NoQuorum Role = "no quorum"
)

// Replica is what is known of one replica.
type Replica struct {
	Name  string          `json:"name"`
	At    string          `json:"at"`
	URL   string          `json:"url"`
	Role  Role            `json:"role,omitempty"`
	State supervise.State `json:"state"` // of its process
	PID   int             `json:"pid,omitempty"`
}

// replicas asks each replica that runs; none for one server.
func (b *Lab) replicas(ctx context.Context) []Replica {
	var out []Replica
	for _, s := range b.l.Servers() {
		if s.At == "" {
			continue
		}
		r := Replica{Name: s.Name, At: s.At, URL: s.URL(), State: supervise.Waiting}
		if c := b.child(s.Process()); c != nil {
			st := c.Status()
			r.State, r.PID = st.State, st.PID
		}
		if r.State == supervise.Running {
			one, cancel := context.WithTimeout(ctx, time.Second)
			if l, err := leadership(one, b.client, r.URL); err == nil {
				r.Role = l.role()
			}
			cancel()
		}
		out = append(out, r)
	}
	return out
}

func (l lead) role() Role {
	switch {
	case !l.Quorum:
		return NoQuorum
	case l.Leads:
		return Leads
	}
	return Follows
}
