package siteprobereceiver

import (
	"fmt"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
)

// Config is the receiver's section of the pipeline. What to probe is not in it: that comes from the servers.
type Config struct {
	// ConnectTo replaces addresses when dialling, "host:port=addr:port,...", like curl --connect-to.
	ConnectTo string `mapstructure:"connect_to"`
}

// Validate checks ConnectTo.
func (c *Config) Validate() error {
	if _, err := probe.ParseOverrides(c.ConnectTo); err != nil {
		return fmt.Errorf("connect_to: %w", err)
	}
	return nil
}
