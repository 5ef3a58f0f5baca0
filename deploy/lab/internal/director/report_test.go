package director

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server that hangs and one that is gone do not keep the edge's word from the one that lives.
func TestEachServerHearsTheEdgeByItself(t *testing.T) {
	heard, asked := make(chan struct{}, 100), make(chan struct{}, 100)
	lives := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer edge" {
			heard <- struct{}{}
		}
	}))
	defer lives.Close()
	hang := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-hang
	}))
	defer hangs.Close()
	defer close(hang)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	b := newBench(t, map[string]string{})
	token := filepath.Join(b.dir, "token")
	if err := os.WriteFile(token, []byte("edge"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(Options{
		Listen: "127.0.0.1:0", Services: []string{"checkout"}, Sites: []string{"fra"}, Upstreams: map[string]string{}, Secret: b.secret,
		StateFile: filepath.Join(b.dir, "other.json"), TokenFile: token, Report: []string{hangs.URL, gone.URL, lives.URL},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	// One that waited for the others would be heard as often as the server that hangs is asked.
	for more, end := 0, time.After(time.Minute); more < 4; {
		select {
		case <-heard:
			more++
		case <-asked:
			more--
		case <-end:
			t.Fatalf("the server that lives is told only %d times more than the one that hangs", more)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
