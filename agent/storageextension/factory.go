package storageextension

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"
)

// NewFactory makes file storages; type and configuration are those of the Collector's own.
func NewFactory() extension.Factory {
	base := filestorage.NewFactory()
	create := func(ctx context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
		inner, err := base.Create(ctx, set, cfg)
		if err != nil {
			return nil, err
		}
		files, ok := inner.(storage.Extension)
		if !ok {
			return nil, fmt.Errorf("%s is no storage", base.Type())
		}
		c, ok := cfg.(*filestorage.Config)
		if !ok {
			return nil, fmt.Errorf("%s: unexpected configuration", base.Type())
		}
		return &store{Extension: files, log: set.Logger, reserve: &reserve{path: filepath.Join(c.Directory, reserveName)}}, nil
	}
	return extension.NewFactory(base.Type(), base.CreateDefaultConfig, create, component.StabilityLevelBeta)
}

// store hands out clients.
type store struct {
	storage.Extension
	log     *zap.Logger
	reserve *reserve
}

var _ storage.Extension = (*store)(nil)

// GetClient opens the file of one queue.
func (s *store) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	s.reserve.hold(time.Now()) // without it the disk is full from the beginning
	inner, err := s.Extension.GetClient(ctx, kind, id, name)
	if err != nil {
		return nil, err
	}
	return newClient(inner, s.reserve, s.log.With(zap.String("queue", id.String()))), nil
}
