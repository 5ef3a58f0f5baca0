package fastexporter

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

// Config is the exporter's section of the pipeline.
type Config struct {
	// Endpoint is the server, without the path: https://evenkeel.example.net:8450.
	Endpoint string `mapstructure:"endpoint"`
	// Auth is the extension that adds the token; none when nil.
	Auth *component.ID `mapstructure:"auth"`
	// Timeout is how long one request may take.
	Timeout time.Duration `mapstructure:"timeout"`
	// Coalesce is how long a first new fact waits for others, at most 20 ms.
	Coalesce time.Duration `mapstructure:"coalesce"`
	// MaxAge is how old a gauge may be when it is sent; older ones are dropped and counted. Counters have no
	// age: their newest value is true until the next.
	MaxAge time.Duration `mapstructure:"max_age"`
	// MaxSeries is how many series may wait; the one that waited longest gives way.
	MaxSeries int `mapstructure:"max_series"`
}

func createDefaultConfig() component.Config {
	return &Config{
		Timeout:   time.Second,
		Coalesce:  5 * time.Millisecond,
		MaxAge:    3 * time.Second,
		MaxSeries: 10_000,
	}
}

// Validate checks every field.
func (c *Config) Validate() error {
	if err := transport.CheckURL(c.Endpoint); err != nil {
		return fmt.Errorf("endpoint %w", err)
	}
	switch {
	case c.Timeout <= 0:
		return errors.New("timeout must be above 0")
	case c.Coalesce < 0 || c.Coalesce > 20*time.Millisecond:
		return errors.New("coalesce must be from 0 to 20ms")
	case c.MaxAge <= 0:
		return errors.New("max_age must be above 0")
	case c.MaxSeries <= 0:
		return errors.New("max_series must be above 0")
	}
	return nil
}
