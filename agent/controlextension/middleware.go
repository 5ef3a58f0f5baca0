package controlextension

import (
	"context"
	"net/http"

	"go.opentelemetry.io/collector/extension/extensionmiddleware"
)

var _ extensionmiddleware.HTTPClient = (*control)(nil)

// GetHTTPRoundTripper lets the bulk exporters name this extension as a middleware. The Collector's exporter
// gives data up when a server answers 401 or 403; a token can be put right, so these become 503, and the data
// waits in its queue. The heartbeat says in the log what is wrong.
func (*control) GetHTTPRoundTripper(context.Context) (extensionmiddleware.WrapHTTPRoundTripperFunc, error) {
	return func(_ context.Context, base http.RoundTripper) (http.RoundTripper, error) {
		return patient{base: base}, nil
	}, nil
}

// patient turns "not with this token" into "not now".
type patient struct{ base http.RoundTripper }

// RoundTrip changes the status only; the body stays as it came.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := p.base.RoundTrip(req)
	if err == nil && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden) {
		answer.StatusCode, answer.Status = http.StatusServiceUnavailable, "503 token not accepted"
	}
	return answer, err
}
