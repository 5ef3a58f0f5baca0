package api

import (
	"context"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Links tells how far copies are behind.
type Links interface {
	// Links are the ends of replication links that agents looked at just now, in a fixed order.
	Links(ctx context.Context) ([]core.LinkView, error)
}

// ListLinks answers GET /links.
func (s *server) ListLinks(ctx context.Context, _ ListLinksRequestObject) (ListLinksResponseObject, error) {
	out := []core.LinkView{}
	if s.Links != nil {
		var err error
		if out, err = s.Links.Links(ctx); err != nil {
			return nil, err
		}
	}
	return ListLinks200JSONResponse(out), nil
}
