// Package metadatatest reads what a component of the pipeline declares in its metadata.yaml, for the tests that hold it to that.
// Only tests import it.
package metadatatest

import (
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Metric is one declared metric.
type Metric struct {
	Description string   `yaml:"description"`
	Unit        string   `yaml:"unit"`
	Attributes  []string `yaml:"attributes"`
}

// Metrics are those that the component of the test's folder declares, by name.
func Metrics(t testing.TB) map[string]Metric {
	t.Helper()
	raw, err := os.ReadFile("metadata.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Metrics map[string]Metric `yaml:"metrics"`
	}
	if err := yaml.Unmarshal(raw, &meta); err != nil {
		t.Fatal(err)
	}
	return meta.Metrics
}
