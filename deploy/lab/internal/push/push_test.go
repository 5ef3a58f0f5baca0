package push

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

func TestPushCarriesSumsGaugesAndHistograms(t *testing.T) {
	got := make(chan pmetric.Metrics, 8)
	auth := make(chan string, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		req := pmetricotlp.NewExportRequest()
		if err := req.UnmarshalProto(b); err != nil {
			t.Error(err)
		}
		select {
		case got <- req.Metrics():
			auth <- r.Header.Get("Authorization") + " " + r.URL.Path
		default:
		}
		out, _ := pmetricotlp.NewExportResponse().MarshalProto()
		_, _ = w.Write(out)
	}))
	defer srv.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := NewHistogram()
	h.Observe(5 * time.Millisecond)
	h.Observe(time.Minute)
	start := time.Now()
	p := &Pusher{
		URL: srv.URL, TokenFile: token, Interval: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Build: func(at time.Time) pmetric.Metrics {
			b := NewBatch(at, start, Attr{"service.name", "test"})
			b.Sum("n", "{request}", 7, Attr{"code_class", "2xx"})
			b.Sum("n", "{request}", 1, Attr{"code_class", "error"})
			b.Gauge("w", "%", 100)
			b.Histogram("d", "s", h)
			return b.Metrics
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	m := <-got
	if a := <-auth; a != "Bearer secret /v1/metrics" {
		t.Errorf("authorization %q", a)
	}
	cancel()
	<-done
	if m.DataPointCount() != 4 || m.MetricCount() != 3 {
		t.Errorf("%d points of %d metrics", m.DataPointCount(), m.MetricCount())
	}
	hp := m.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(2).Histogram().DataPoints().At(0)
	if hp.Count() != 2 || hp.BucketCounts().At(0) != 1 || hp.BucketCounts().At(hp.BucketCounts().Len()-1) != 1 {
		t.Errorf("histogram %v of %d", hp.BucketCounts().AsRaw(), hp.Count())
	}
}
