package controlextension

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// The roles of an agent. Only a site agent probes, and only it has a voice about its site.
const (
	RoleSite = "site"
	RoleHost = "host"
)

// Config is the extension's section of the pipeline.
type Config struct {
	// Endpoints are the servers, without paths.
	Endpoints []string `mapstructure:"endpoints"`
	// Auth is the extension that adds the token; none when nil.
	Auth *component.ID `mapstructure:"auth"`
	// Site is where this agent stands. A topology meant for another site is refused.
	Site string `mapstructure:"site"`
	// Role is site or host; a host agent sends heartbeats only.
	Role string `mapstructure:"role"`
	// Directory keeps the agent's id and the topology; it must exist.
	Directory string `mapstructure:"directory"`
	// Heartbeat is the time between two heartbeats; 0 takes 1 s for a site and 5 s for a host.
	Heartbeat time.Duration `mapstructure:"heartbeat"`
	// Wait is how long a server may hold a question for a newer topology.
	Wait time.Duration `mapstructure:"wait"`
	// Page is the dead man's switch; role site only.
	Page PageConfig `mapstructure:"page"`
}

// PageConfig says when an agent pages by itself because no server answers.
type PageConfig struct {
	// KeyFile holds a PagerDuty routing key; empty switches paging off.
	KeyFile string `mapstructure:"key_file"`
	// After is how long no server may have answered.
	After time.Duration `mapstructure:"after"`
	// URL is PagerDuty's. Only another one than the default may lead to a private address.
	URL string `mapstructure:"url"`
}

// Limits of PageConfig.After. Below the lower one a restart of a single server would page, above the upper one
// nobody would call it a dead man's switch.
const (
	pageAfterLeast = 10 * time.Second
	pageAfterMost  = 24 * time.Hour
)

// CheckPage reports what is wrong with the time and the address of paging.
func CheckPage(after time.Duration, url string) error {
	if after < pageAfterLeast || after > pageAfterMost {
		return fmt.Errorf("after %v must be from %v to %v", after, pageAfterLeast, pageAfterMost)
	}
	if err := transport.CheckURL(url); err != nil {
		return fmt.Errorf("url %w; write it like %s", err, pagerduty.DefaultBaseURL)
	}
	return nil
}

func createDefaultConfig() component.Config {
	return &Config{
		Role: RoleHost, Wait: 25 * time.Second, Page: PageConfig{After: 2 * time.Minute, URL: pagerduty.DefaultBaseURL},
	}
}

// Validate checks every field.
func (c *Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return errors.New("endpoints: at least one server must be given")
	}
	for _, endpoint := range c.Endpoints {
		if err := transport.CheckURL(endpoint); err != nil {
			return fmt.Errorf("endpoints: %q %w", endpoint, err)
		}
	}
	switch {
	case c.Site == "":
		return errors.New("site must be given")
	case c.Role != RoleSite && c.Role != RoleHost:
		return fmt.Errorf("role %q must be site or host", c.Role)
	case c.Directory == "":
		return errors.New("directory must be given")
	case c.Heartbeat < 0:
		return errors.New("heartbeat must not be negative")
	case c.Wait < time.Second || c.Wait > 5*time.Minute:
		return errors.New("wait must be from 1s to 5m")
	}
	return c.Page.check(c.Role)
}

func (c *Config) beat() time.Duration {
	switch {
	case c.Heartbeat > 0:
		return c.Heartbeat
	case c.Role == RoleSite:
		return time.Second
	}
	return 5 * time.Second
}
