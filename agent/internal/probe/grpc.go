package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// GRPC asks the health service (grpc.health.v1) of a grpc:// or grpcs://host:port/service URL whether the service is
// SERVING; without a service it asks for the whole server. Every other answer is a status, also that there is no
// health service; what is no gRPC is a body.
func GRPC(ctx context.Context, via Via, q Question) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	raw, err := dial(ctx, via, "tcp", hostPort(q.URL), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0)
	}
	defer func() { _ = raw.Close() }()
	var conn net.Conn = raw
	if q.URL.Scheme == "grpcs" {
		if conn, err = secure(ctx, via, raw, q, q.URL.Hostname(), &res, []string{"h2"}); err != nil {
			return failed(ctx, res, err, phaseTLS, raw.read.Load())
		}
	}
	before := raw.read.Load()
	began := time.Now()
	answer, err := check(ctx, via, conn, q)
	read := raw.read.Load() - before
	if read > 0 {
		res.Phases.FirstByte += time.Since(began)
	}
	switch {
	case err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING:
		res.State = Up
		return res
	case err == nil:
		return unexpected(res, ReasonStatus, "answered "+answer.GetStatus().String())
	}
	return refusedCall(ctx, res, err, read)
}

// check makes the one call over the connection, which is the only one there is.
func check(ctx context.Context, via Via, conn net.Conn, q Question) (*healthpb.HealthCheckResponse, error) {
	client, err := grpc.NewClient("passthrough:///"+hostPort(q.URL),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection is encrypted already where it is to be
		grpc.WithContextDialer(once(conn)), grpc.WithAuthority(q.URL.Host), grpc.WithUserAgent(via.UserAgent),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(bodyLimit)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	return healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{Service: strings.TrimPrefix(q.URL.Path, "/")})
}

// once hands the connection out to the first who asks.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var mu sync.Mutex
	return func(context.Context, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if conn == nil {
			return nil, errors.New("the connection is lost")
		}
		out := conn
		conn = nil
		return out, nil
	}
}

// refusedCall classifies a call without an answer of the health service. The library keeps only the text of what
// became of the connection, so what came over it is counted instead.
func refusedCall(ctx context.Context, res Result, err error, read int64) Result {
	if ctx.Err() != nil {
		return failed(ctx, res, ctx.Err(), phaseAnswer, read)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) { // the connection noticed first
		return failed(ctx, res, context.DeadlineExceeded, phaseAnswer, read)
	}
	said := status.Convert(err)
	switch said.Code() {
	case codes.Unavailable:
		if read == 0 {
			return unexpected(res, ReasonRefused, "no answer: the connection was closed before a byte came")
		}
		return unexpected(res, ReasonBody, fmt.Sprintf("answer cut short, or no gRPC: %.200s", said.Message()))
	case codes.Unimplemented:
		return unexpected(res, ReasonStatus, "there is no health service: "+said.Code().String())
	case codes.NotFound:
		return unexpected(res, ReasonStatus, "the health service does not know this service: "+said.Code().String())
	case codes.Internal, codes.Unknown, codes.ResourceExhausted:
		return unexpected(res, ReasonBody, fmt.Sprintf("the answer is no health answer: %s: %.200s", said.Code(), said.Message()))
	default:
		return unexpected(res, ReasonStatus, "answered "+said.Code().String())
	}
}
