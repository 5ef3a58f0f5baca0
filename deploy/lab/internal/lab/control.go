package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
)

// faultRequest is a fault as it was typed.
type faultRequest struct {
	Args   []string      `json:"args"`
	OneWay bool          `json:"one_way"`
	For    time.Duration `json:"for_ns"`
}

type healRequest struct {
	Site string `json:"site"`
}

type loadRequest struct {
	Peak float64 `json:"peak"` // requests per second at the top of the day
}

// listen takes orders on the lab's socket until ctx ends.
func (b *Lab) listen(ctx context.Context) error {
	path := b.f.Socket()
	_ = os.Remove(path) // the lock says that nobody listens there
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("take orders: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, b.Status(r.Context())) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		var q faultRequest
		if !read(w, r, &q) {
			return
		}
		f, err := b.l.Parse(q.Args, q.OneWay, q.For)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		// A fault that has begun is finished, also when the one who asked for it goes away.
		e, err := b.Fault(ctx, f)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		answer(w, e)
	})
	mux.HandleFunc("POST /heal", func(w http.ResponseWriter, r *http.Request) {
		var q healRequest
		if !read(w, r, &q) {
			return
		}
		if q.Site != "" && !slices.Contains(b.l.Places(), q.Site) {
			http.Error(w, fmt.Sprintf("%v, or none for all", b.l.Unknown(q.Site)), http.StatusBadRequest)
			return
		}
		answer(w, append([]Event{}, b.Heal(q.Site)...))
	})
	mux.HandleFunc("POST /load", func(w http.ResponseWriter, r *http.Request) {
		var q loadRequest
		if !read(w, r, &q) {
			return
		}
		if err := b.Load(q.Peak); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, q)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	b.wg.Go(func() {
		if err := srv.Serve(ln); ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
			b.o.Log.Error("no more orders are taken", slog.Any("error", err))
		}
	})
	return nil
}

func read(w http.ResponseWriter, r *http.Request, out any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(out); err != nil {
		http.Error(w, "the order cannot be read: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the asker went away
}

// Client gives orders to a running lab.
type Client struct {
	folder layout.Folder
	http   *http.Client
}

// FindClient is a client of the lab with that data folder, and for the empty name of the one that runs in a folder beside the
// default one; its error says that several do.
func FindClient(data string) (*Client, error) {
	if data != "" {
		return newClient(data), nil
	}
	data = Default().Data
	sockets, err := filepath.Glob(layout.Folder(filepath.Join(filepath.Dir(data), "*")).Socket())
	if err != nil {
		return nil, fmt.Errorf("look for a lab: %w", err)
	}
	var running []string
	for _, path := range sockets {
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = conn.Close() // only whether somebody listens
			running = append(running, filepath.Dir(path))
		}
	}
	switch len(running) {
	case 0:
		return newClient(data), nil // the order will say that nobody is there
	case 1:
		return newClient(running[0]), nil
	}
	return nil, fmt.Errorf("several labs run: choose one with --data %s", strings.Join(running, " or --data "))
}

func newClient(data string) *Client {
	f := layout.Folder(abs(data))
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", f.Socket())
	}
	return &Client{folder: f, http: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Fault breaks something, as it was typed.
func (c *Client) Fault(ctx context.Context, args []string, oneWay bool, lasts time.Duration) (Event, error) {
	var e Event
	return e, c.call(ctx, http.MethodPost, "/fault", faultRequest{args, oneWay, lasts}, &e)
}

// Heal mends a site, or everything for the empty name, and returns the faults that ended.
func (c *Client) Heal(ctx context.Context, site string) ([]Event, error) {
	var out []Event
	return out, c.call(ctx, http.MethodPost, "/heal", healRequest{site}, &out)
}

// Load changes the users' requests per second at the top of the day.
func (c *Client) Load(ctx context.Context, peak float64) error {
	return c.call(ctx, http.MethodPost, "/load", loadRequest{peak}, &loadRequest{})
}

// Status asks for everything.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the order: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("no lab runs with %s: start one with `make run`, or name its folder with --data", c.folder)
	}
	if err != nil {
		return fmt.Errorf("ask the lab: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the lab's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(raw)))
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read the lab's answer: %w", err)
	}
	return nil
}
