package probe

import (
	"context"
	"fmt"
	"time"
)

// TCP asks whether the port of a tcp://host:port URL accepts a connection.
func TCP(ctx context.Context, via Via, q Question) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	conn, err := dial(ctx, via, "tcp", hostPort(q.URL), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0)
	}
	_ = conn.Close() // the question is answered, how the goodbye goes does not matter
	res.State = Up
	return res
}

// failed fills state, reason and sentence from an error.
func failed(ctx context.Context, res Result, err error, at phase, read int64) Result {
	err = cause(ctx, err)
	res.State, res.Reason = classify(err, at, read)
	res.Detail = fmt.Sprintf("%s: %v", at.sentence(), err)
	return res
}

func (p phase) sentence() string {
	switch p {
	case phaseDial:
		return "no connection"
	case phaseTLS:
		return "TLS handshake failed"
	case phaseAnswer:
		return "no answer"
	case phaseBody:
		return "answer cut short"
	}
	return "failed"
}
