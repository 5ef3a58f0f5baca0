package api

import (
	"context"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// ListMarks answers GET /marks.
func (s *server) ListMarks(_ context.Context, r ListMarksRequestObject) (ListMarksResponseObject, error) {
	if !r.Params.From.Before(r.Params.Until) {
		return nil, invalid("from is not before until", "give the older time as from")
	}
	out := []core.MarkedTime{}
	if s.Marks != nil {
		out = append(out, s.Marks.MarkedTimes(r.Params.From, r.Params.Until)...)
	}
	return ListMarks200JSONResponse(out), nil
}
