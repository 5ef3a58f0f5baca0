package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/users"
)

// Waits of a start and of the end.
const (
	serverPatience = 60 * time.Second
	endPatience    = 8 * time.Second
)

// Lab is a running lab.
type Lab struct {
	o       Options
	l       layout.Layout
	f       layout.Folder
	began   time.Time
	client  *http.Client
	sup     *supervise.Supervisor
	cables  map[string]*proxy.Proxy // by name of the edge
	users   *users.Users
	story   *story
	first   layout.Server // takes operators' orders, the lab's own among them; set before it is started
	led     layout.Server // led when the lab became ready; empty with one server
	wg      sync.WaitGroup
	faultsF *os.File
	usersF  *os.File

	op sync.Mutex // one fault, heal or timer at a time

	mu       sync.Mutex
	children map[string]*supervise.Child // by name of the process
	active   []layout.Fault
	lastID   int
	timers   map[int]*time.Timer
	knobs    map[string]string // what was written last; under op
	ready    bool
}

// Run is a lab from its start to ctx's end. Its error is a sentence for the operator. When it returns no process
// of the lab is left.
func Run(ctx context.Context, o Options) (err error) {
	l, err := o.check()
	if err != nil {
		return err
	}
	release, err := claim(o, l)
	if err != nil {
		return err
	}
	defer release()
	b := &Lab{
		o: o, l: l, f: layout.Folder(o.Data), began: time.Now(),
		client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second}},
		sup:    supervise.New(o.Log), cables: map[string]*proxy.Proxy{}, children: map[string]*supervise.Child{},
		timers: map[int]*time.Timer{}, knobs: map[string]string{}, story: newStory(o.Out, o.Quiet),
	}
	// What is closed last is deferred first.
	defer b.closeFiles()
	defer b.client.CloseIdleConnections()
	defer func() {
		b.sup.Close(endPatience)
		for _, p := range b.cables {
			p.Close()
		}
	}()
	if err := b.openFiles(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer b.wg.Wait()
	defer cancel(nil)
	defer b.stopTimers()
	if err := b.open(ctx); err != nil {
		return err
	}
	b.wg.Go(func() {
		if err := b.rise(ctx); err != nil && ctx.Err() == nil {
			cancel(err)
		}
	})
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	b.story.say("the lab stops; %d processes are ended in order", len(b.sup.Statuses()))
	return nil
}

func (b *Lab) openFiles() error {
	var err error
	if b.faultsF, err = os.OpenFile(b.f.Faults(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open the list of faults: %w", err)
	}
	if b.usersF, err = os.OpenFile(b.f.Users(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open the users' record: %w", err)
	}
	return nil
}

func (b *Lab) closeFiles() {
	for _, f := range []*os.File{b.faultsF, b.usersF} {
		if f != nil {
			_ = f.Close() // each line was written by itself
		}
	}
}

// open lays the cables, takes orders and starts all that needs no token.
func (b *Lab) open(ctx context.Context) error {
	for _, e := range b.l.Edges() {
		p, err := proxy.Start(e.Listen, e.Upstream)
		if err != nil {
			return fmt.Errorf("lay the cable %s: %w", e.Name(), err)
		}
		b.cables[e.Name()] = p
	}
	if err := b.listen(ctx); err != nil {
		return err
	}
	if !b.o.NoServer {
		if err := b.startServers(); err != nil {
			return err
		}
	}
	for _, s := range b.l.Sites {
		if err := b.startOurs("nats", s); err != nil {
			return err
		}
	}
	for _, s := range b.l.Sites {
		if err := b.startOurs("shop", s); err != nil {
			return err
		}
	}
	return b.startOurs("director", "")
}

// rise brings up the rest in the order in which it can work: sites, users, and with a server tokens and agents.
func (b *Lab) rise(ctx context.Context) error {
	b.story.say("the lab starts: sites %v, logs in %s", b.l.Sites, b.f.Logs())
	for _, s := range b.l.Sites {
		if err := b.until(ctx, "the shop at "+s, "http://"+b.l.Shop(s)+"/healthz", 30*time.Second); err != nil {
			return err
		}
	}
	if err := b.until(ctx, "the director", "http://"+b.l.DirectorAdmin()+"/status", 30*time.Second); err != nil {
		return err
	}
	u := users.New(users.Options{
		URL: "http://" + b.l.Director() + "/" + layout.Service, Peak: b.o.Peak, Day: b.o.Day, Each: b.usersF, Log: b.o.Log,
	})
	b.mu.Lock()
	b.users = u
	b.mu.Unlock()
	b.wg.Go(func() { u.Run(ctx) })
	if !b.o.NoServer {
		if err := b.riseWatch(ctx); err != nil {
			return err
		}
	}
	b.op.Lock()
	err := b.reconcile() // faults that were asked for before all processes were there
	b.op.Unlock()
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.ready = true
	b.mu.Unlock()
	b.story.say("%s", b.welcome())
	return nil
}

// Load changes the users' requests per second at the top of the day.
func (b *Lab) Load(peak float64) error {
	if err := checkPeak(peak); err != nil {
		return err
	}
	b.mu.Lock()
	u := b.users
	b.mu.Unlock()
	if u == nil {
		return errors.New("there are no users yet: the lab is starting")
	}
	u.SetPeak(peak)
	return nil
}

// riseWatch brings up those who watch: the first server, tokens, agents, the other replicas. The agents come before them:
// a replica that has no inputs is slow to lead.
func (b *Lab) riseWatch(ctx context.Context) error {
	if err := b.riseFirst(ctx); err != nil {
		return err
	}
	for _, v := range b.l.Vantages() {
		if err := b.token(ctx, "site", v); err != nil {
			return err
		}
	}
	if err := b.token(ctx, "edge", "director"); err != nil {
		return err
	}
	for _, v := range b.l.Vantages() {
		if err := b.startAgent(v); err != nil {
			return err
		}
	}
	if err := b.riseReplicas(ctx); err != nil {
		return err
	}
	for _, v := range b.l.Vantages() {
		if err := b.until(ctx, "the agent at "+v, "http://"+b.l.AgentHealth(v)+"/", 30*time.Second); err != nil {
			return fmt.Errorf("%w: see %s", err, b.f.Log("agent-"+v))
		}
	}
	return nil
}

// until asks a URL until it answers 200. A fault that takes the thing away meanwhile is no reason to give up
// early: the lab is not ready, and says so.
func (b *Lab) until(ctx context.Context, what, url string, patience time.Duration) error {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if last = b.ask(ctx, url, nil); last == nil {
			return nil
		}
		if !rest(ctx, 100*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("%s did not get ready within %s: %w", what, patience, last)
}

// rest waits d; false says that ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// tail is the end of a log, for a message.
func tail(path string, n int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-n):])
}

// child is the named process, if there is one.
func (b *Lab) child(name string) *supervise.Child {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.children[name]
}

func (b *Lab) add(spec supervise.Spec) error {
	c, err := b.sup.Add(spec)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.children[spec.Name] = c
	b.mu.Unlock()
	b.o.Log.Debug("process added", slog.String("process", spec.Name))
	return nil
}
