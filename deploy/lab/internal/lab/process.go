package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/bus"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/director"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/shop"
	"github.com/evenkeel/evenkeel/remediations"
)

// Process is one process of ours, as the supervisor starts it.
type Process struct {
	Name   string // nats, shop or director
	Site   string // empty for the director
	Layout layout.Layout
	Folder layout.Folder
	Alone  bool // there is neither server nor agent to report to
	Log    *slog.Logger
}

// Run is the process until SIGTERM or SIGINT; SIGHUP reloads the shop.
func (p Process) Run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if p.Name != "director" && !p.Layout.IsSite(p.Site) {
		return fmt.Errorf("site %q is unknown", p.Site)
	}
	switch p.Name {
	case "nats":
		return p.nats(ctx)
	case "shop":
		return p.shop(ctx)
	case "director":
		return p.director(ctx)
	}
	return fmt.Errorf("process %q is unknown: choose nats, shop or director", p.Name)
}

// otlp is the receiver of the site's agent.
func (p Process) otlp() string {
	if p.Alone {
		return ""
	}
	return "http://" + p.Layout.AgentOTLP(p.Site)
}

func (p Process) nats(ctx context.Context) error {
	name := "nats-" + p.Site
	peers := map[string]string{}
	for _, s := range p.Layout.Sites {
		if s != p.Site {
			peers[s] = p.Layout.Edge(layout.EdgeBus, p.Site, s)
		}
	}
	b, err := bus.Start(ctx, bus.Options{
		Site: p.Site, Listen: p.Layout.Bus(p.Site), Admin: p.Layout.BusAdmin(p.Site), Dir: p.Folder.State(name),
		Peers: peers, Knob: p.Folder.Knob(name), OTLP: p.otlp(), Log: p.Log,
	})
	if err != nil {
		return err
	}
	defer b.Close()
	b.Run(ctx)
	return nil
}

func (p Process) shop(ctx context.Context) error {
	s, err := shop.New(shop.Options{
		Site: p.Site, Listen: p.Layout.Shop(p.Site), Bus: p.Layout.Bus(p.Site), Knob: p.Folder.Knob("shop-" + p.Site),
		OTLP: p.otlp(), Log: p.Log,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	reload := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
			}
			select {
			case reload <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.Run(ctx, reload)
}

func (p Process) director(ctx context.Context) error {
	key, err := os.ReadFile(p.Folder.Key())
	if err != nil {
		return fmt.Errorf("read the executor's key: %w", err)
	}
	secret, err := remediations.ParseSecret(strings.TrimSpace(string(key)))
	if err != nil {
		return fmt.Errorf("read the executor's key: %w", err)
	}
	o := director.Options{
		Listen: p.Layout.Director(), Admin: p.Layout.DirectorAdmin(), Services: []string{layout.Service}, Sites: p.Layout.Sites,
		Upstreams: map[string]string{}, Secret: secret, StateFile: p.Folder.State("director") + "/fencing.json",
		Weights: p.Folder.State("director") + "/weights.json", Executed: p.Folder.Executed(), Knob: p.Folder.Knob("director"),
		TokenFile: p.Folder.Token("director"), Log: p.Log,
	}
	for _, s := range p.Layout.Sites {
		o.Upstreams[s] = p.Layout.Edge(layout.EdgeUsers, "director", s)
	}
	if !p.Alone {
		for _, s := range p.Layout.Servers() {
			o.Report = append(o.Report, s.URL())
		}
	}
	d, err := director.New(o) //nolint:contextcheck // its handlers have the context of their request
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
