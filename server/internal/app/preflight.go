package app

import (
	"context"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Preflight asks every executor which token it obeys.
func (s *Server) Preflight(context.Context) ([]core.Preflight, error) { return nil, nil }

func (s *Server) preflights(context.Context) {}
