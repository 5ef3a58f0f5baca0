package selfreceiver

import (
	"errors"
	"time"
)

// Config is the receiver's section of the pipeline.
type Config struct {
	// Interval is the time between two reports.
	Interval time.Duration `mapstructure:"interval"`
	// Buffers says which exporter's queue leads to which server.
	Buffers []BufferConfig `mapstructure:"buffers"`
}

// BufferConfig names one bulk exporter and its server.
type BufferConfig struct {
	Exporter string `mapstructure:"exporter"`
	Server   string `mapstructure:"server"`
}

// Validate checks every field.
func (c *Config) Validate() error {
	if c.Interval < time.Second {
		return errors.New("interval must be 1s or more")
	}
	for _, b := range c.Buffers {
		if b.Exporter == "" || b.Server == "" {
			return errors.New("buffers: exporter and server must be given")
		}
	}
	return nil
}
