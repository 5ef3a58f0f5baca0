package controlextension

import (
	"context"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/extension/extensionmiddleware"
)

var _ extensionmiddleware.HTTPClient = (*control)(nil)

// GetHTTPRoundTripper lets the bulk exporters name this extension as a middleware. The Collector's exporter
// gives data up when a server answers 401 or 403; a token can be put right, so these become 503, and the data
// waits in its queue. The heartbeat says in the log what is wrong.
func (c *control) GetHTTPRoundTripper(context.Context) (extensionmiddleware.WrapHTTPRoundTripperFunc, error) {
	return func(_ context.Context, base http.RoundTripper) (http.RoundTripper, error) {
		return patient{base: base, parting: c.parting}, nil
	}, nil
}

// Ready has nothing to do.
func (*control) Ready() error { return nil }

// NotReady is called before the exporters are shut down, one after the other. Each waits for what it has under way, so
// that servers which accept and never answer would hold up the end by the exporter's timeout each.
func (c *control) NotReady() error {
	c.parting.begin()
	return nil
}

// partingWait is how long requests under way may take once the agent is told to stop. What is cut short stays in its queue.
const partingWait = time.Second

// parting ends requests when the agent stops.
type parting struct {
	over context.Context //nolint:containedctx // it is the end of the agent, not of one call
	end  context.CancelFunc
}

func newParting() *parting {
	ctx, cancel := context.WithCancel(context.Background())
	return &parting{over: ctx, end: cancel}
}

func (p *parting) begin() { time.AfterFunc(partingWait, p.end) }

// patient turns "not with this token" into "not now", and does not wait longer than the agent lives.
type patient struct {
	base    http.RoundTripper
	parting *parting
}

// RoundTrip changes the status only; the body stays as it came.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	detach := context.AfterFunc(p.parting.over, cancel) //nolint:contextcheck // the end of the agent ends the request as well
	done := func() { detach(); cancel() }
	answer, err := p.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		done()
		return answer, err
	}
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		answer.StatusCode, answer.Status = http.StatusServiceUnavailable, "503 token not accepted"
	}
	answer.Body = &watched{ReadCloser: answer.Body, done: done}
	return answer, nil
}

// watched tells when a body is closed.
type watched struct {
	io.ReadCloser
	done func()
}

func (w *watched) Close() error {
	defer w.done()
	return w.ReadCloser.Close()
}
