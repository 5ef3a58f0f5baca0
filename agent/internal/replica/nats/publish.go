package nats

import (
	"context"
	"encoding/json"
	"strconv"

	driver "github.com/nats-io/nats.go"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// errOvertaken says that nothing was written because something else was, a moment before.
var errOvertaken error = &Failure{replica.ReasonQuery, "another beat was written at the same moment"}

// publish writes to the stream unless another message of the subject came after the one with the sequence last; nil: whatever came.
func publish(ctx context.Context, c *conn, stream, subject, text string, last *uint64) error {
	msg := driver.NewMsg(subject)
	msg.Data = []byte(text)
	msg.Header.Set("Nats-Expected-Stream", stream)
	if last != nil {
		msg.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(*last, 10))
	}
	answer, err := c.ask(ctx, msg)
	if err != nil {
		f := classify(err)
		if f.Reason == replica.ReasonQuery {
			return &Failure{replica.ReasonRole, "no stream takes the subject"}
		}
		return f
	}
	var ack struct {
		Error  *apiError `json:"error"`
		Stream string    `json:"stream"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return classify(errAnswer)
	}
	switch {
	case ack.Error == nil && ack.Stream == stream:
		return nil
	case ack.Error == nil:
		return classify(errAnswer)
	case ack.Error.ErrCode == codeWrongLast || ack.Error.ErrCode == codeWrongLast2:
		return errOvertaken
	case ack.Error.ErrCode == codeNotExpected:
		return &Failure{replica.ReasonRole, "another stream takes the subject"}
	}
	return classify(ack.Error)
}
