package app

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// CheckConfig reads a configuration and says in one line what is in it.
func CheckConfig(path string) (string, error) {
	c, err := config.Load(path)
	if err != nil {
		return "", err
	}
	modes := map[core.Mode]int{}
	for _, p := range c.Policies {
		modes[core.Mode(p.Mode)]++
	}
	kind := ""
	if c.Lab {
		kind = " (lab: no floors)"
	}
	implied := ""
	for _, w := range c.Watches {
		if w.Implied() {
			implied = " (" + w.Name + ", which probes of certificates bring, is one)"
		}
	}
	return fmt.Sprintf("%s: ok%s: %d sites, %d witnesses, %d services, %d watches%s, %d policies (%d automatic, %d approve, %d recommend, %d observe), %d targets%s",
		path, kind, len(c.Sites), len(c.Witnesses), len(c.Services), len(c.Watches), implied, len(c.Policies),
		modes[core.ModeAutomatic], modes[core.ModeApprove], modes[core.ModeRecommend], modes[core.ModeObserve], len(c.Targets), coming(c, time.Now())), nil
}

// EffectiveConfig is the configuration as it is used, as YAML, with its secrets hidden.
func EffectiveConfig(path string) ([]byte, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return c.Render()
}

// ConfigSchema is the JSON Schema of the configuration.
func ConfigSchema() []byte { return config.Schema() }

// NewSecret makes a signing secret of 32 random bytes.
func NewSecret() core.Secret { return core.Secret(remediations.GenerateSecret()) }
