package probe

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// grpcServer serves until the test ends; register may be nil.
func grpcServer(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	if register != nil {
		register(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(listener)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	return listener.Addr().String()
}

// hanging is a health service that takes its time.
type hanging struct {
	healthpb.UnimplementedHealthServer
}

func (hanging) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestGRPCHealth(t *testing.T) {
	state := health.NewServer()
	state.SetServingStatus("cart.Cart", healthpb.HealthCheckResponse_SERVING)
	state.SetServingStatus("cart.Old", healthpb.HealthCheckResponse_NOT_SERVING)
	register := func(s *grpc.Server) { healthpb.RegisterHealthServer(s, state) }
	plain := grpcServer(t, register)
	f := func(what, raw string, o Options, state State, reason Reason, detail string) {
		t.Helper()
		res := try(t, "grpc", raw, Via{UserAgent: "test"}, o)
		want(t, what, res, state, reason)
		if !strings.Contains(res.Detail, detail) {
			t.Errorf("%s: %q, want %q in it", what, res.Detail, detail)
		}
		if state == Up && (res.Phases.FirstByte == 0 || res.Remote == "") {
			t.Errorf("%s: phases are missing: %+v", what, res)
		}
	}
	f("whole server", "grpc://"+plain, Options{}, Up, ReasonNone, "")
	f("serving", "grpc://"+plain+"/cart.Cart", Options{}, Up, ReasonNone, "")
	f("not serving", "grpc://"+plain+"/cart.Old", Options{}, Down, ReasonStatus, "NOT_SERVING")
	f("no such service", "grpc://"+plain+"/cart.New", Options{}, Down, ReasonStatus, "NotFound")
	f("no health service", "grpc://"+grpcServer(t, nil), Options{}, Down, ReasonStatus, "Unimplemented")

	a := newAuthority(t)
	pair := a.pair("cart.example.net", time.Now().Add(time.Hour), false)
	secured := grpcServer(t, register, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	trust := Options{CA: a.pem(), TLSName: "cart.example.net"}
	f("TLS", "grpcs://"+secured+"/cart.Cart", trust, Up, ReasonNone, "")
	f("TLS, unknown authority", "grpcs://"+secured+"/cart.Cart", Options{TLSName: "cart.example.net"}, Down, ReasonTLS, "authority")
	f("TLS where none is", "grpcs://"+plain, trust, Down, ReasonTLS, "")
	f("plain where TLS is", "grpc://"+secured, Options{}, Down, ReasonRefused, "") // it hangs up on what is no handshake
	if res := try(t, "grpc", "grpcs://"+secured, Via{}, trust); res.Expires.IsZero() || res.Phases.TLS == 0 {
		t.Errorf("no end of the certificate: %+v", res)
	}

	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	f("HTTP/1.1", strings.Replace(web.URL, "http", "grpc", 1), Options{}, Down, ReasonBody, "")
	old := tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	f("no HTTP/2 over TLS", "grpcs://"+serve(t, func(c *net.TCPConn) { _ = tls.Server(c, &old).Handshake() }), trust, Down, ReasonTLS, "h2")
	f("closed without a byte", "grpc://"+serve(t, func(c *net.TCPConn) { readRequest(c) }), Options{}, Down, ReasonRefused, "")
	f("reset", "grpc://"+serve(t, func(c *net.TCPConn) { readRequest(c); _ = c.SetLinger(0) }), Options{}, Down, ReasonRefused, "")

	slow := grpcServer(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, hanging{}) })
	want(t, "no answer in time", within(t, 250*time.Millisecond, "grpc", "grpc://"+slow, Via{}), Down, ReasonTimeout)
	want(t, "no byte in time", within(t, 250*time.Millisecond, "grpc", "grpc://"+serve(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
	}), Via{}), Down, ReasonTimeout)

	q, err := Ask("grpc", "grpc://"+slow, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	time.AfterFunc(50*time.Millisecond, cancel)
	want(t, "stopped", GRPC(ctx, Via{}, q), Unknown, ReasonOurs)
}
