package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Render is the effective configuration as YAML, defaults filled in and secrets hidden.
func (c Config) Render() ([]byte, error) {
	out, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return out, nil
}

// Shared is the configuration without what may differ between the machines of the replicas: files, listeners, stores. It is
// numbered, so that replicas with the same rules have the same number.
func (c Config) Shared() Config {
	c.Ledger, c.Storage = Ledger{}, Storage{}
	c.Replicas = slices.Clone(c.Replicas)
	for i := range c.Replicas {
		c.Replicas[i].Listen = ""
	}
	return c
}

// MarshalYAML writes the duration as it is read: whole days as 100d, all else as Go does.
func (d Duration) MarshalYAML() (any, error) {
	if day := Duration(24 * time.Hour); d > 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d", nil
	}
	return d.D().String(), nil
}

// MarshalYAML writes the percentage with its sign.
func (p Percent) MarshalYAML() (any, error) {
	return strconv.FormatFloat(float64(p)*100, 'g', 12, 64) + "%", nil
}

// MarshalYAML writes the name of the condition.
func (c Condition) MarshalYAML() (any, error) { return core.Condition(c).String(), nil }

// MarshalYAML writes the name of the class.
func (c Class) MarshalYAML() (any, error) { return core.Class(c).String(), nil }

// MarshalYAML writes the name of the mode.
func (m Mode) MarshalYAML() (any, error) { return core.Mode(m).String(), nil }
