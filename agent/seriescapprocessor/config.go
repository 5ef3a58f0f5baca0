package seriescapprocessor

import (
	"fmt"
	"time"
)

// Config is the processor's section of the pipeline.
type Config struct {
	// MaxSeries is how many series may be alive at a time, from 1 to 10 million.
	MaxSeries int `mapstructure:"max_series"`
	// Expire is how long a series that is not written any more keeps its place; at least 1 minute.
	Expire time.Duration `mapstructure:"expire"`
}

const (
	// DefaultSeries are the series of some dozens of hosts' exporters; they take less than a megabyte.
	DefaultSeries = 20_000
	// MostSeries bounds the setting, as a typing error would be a bound of nothing.
	MostSeries    = 10_000_000
	defaultExpire = 10 * time.Minute
	leastExpire   = time.Minute
)

// CheckSeries reports what is wrong with a cap.
func CheckSeries(n int) error {
	if n < 1 || n > MostSeries {
		return fmt.Errorf("%d must be from 1 to %d", n, MostSeries)
	}
	return nil
}

// Validate checks every field.
func (c *Config) Validate() error {
	if err := CheckSeries(c.MaxSeries); err != nil {
		return fmt.Errorf("max_series: %w", err)
	}
	if c.Expire < leastExpire {
		return fmt.Errorf("expire %v must be %v or more", c.Expire, leastExpire)
	}
	return nil
}
