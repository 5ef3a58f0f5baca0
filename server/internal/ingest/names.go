package ingest

import (
	"strings"
	"sync"

	"github.com/prometheus/otlptranslator"
)

// maxNames bounds each table of translated names; what does not fit is translated every time.
const maxNames = 20_000

// names remembers translated names: the translation costs more than the rest of a sample.
type names struct {
	metric otlptranslator.MetricNamer
	label  otlptranslator.LabelNamer

	mu      sync.RWMutex
	metrics map[otlptranslator.Metric]string // empty: no usable name
	labels  map[string]string
}

func newNames() *names {
	return &names{
		metric:  otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes),
		metrics: map[otlptranslator.Metric]string{},
		labels:  map[string]string{},
	}
}

// metricName is the store's name of an OTLP metric, empty when it has no usable one.
func (n *names) metricName(m otlptranslator.Metric) string {
	n.mu.RLock()
	out, ok := n.metrics[m]
	n.mu.RUnlock()
	if ok {
		return out
	}
	out, err := n.metric.Build(m)
	if err != nil {
		out = ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.metrics) < maxNames {
		n.metrics[otlptranslator.Metric{Name: strings.Clone(m.Name), Unit: strings.Clone(m.Unit), Type: m.Type}] = out
	}
	return out
}

// labelName is the store's name of an attribute, empty when it has no usable one.
func (n *names) labelName(attribute string) string {
	n.mu.RLock()
	out, ok := n.labels[attribute]
	n.mu.RUnlock()
	if ok {
		return out
	}
	out, err := n.build(attribute)
	if err != nil || out == "__name__" {
		out = ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.labels) < maxNames {
		n.labels[strings.Clone(attribute)] = strings.Clone(out)
	}
	return out
}

func (n *names) build(attribute string) (string, error) {
	if attribute == "" {
		return "", errNoName
	}
	return n.label.Build(attribute)
}

// promoted reports whether a resource attribute becomes a label. They are what tells one source from another
// and a person where to look; the rest describes and would only make series longer.
func promoted(attribute string) bool {
	switch attribute {
	case "service.name", "service.namespace", "service.instance.id", "host.name", "deployment.environment.name",
		"deployment.environment", "container.name", "k8s.cluster.name", "k8s.namespace.name", "k8s.node.name",
		"k8s.pod.name", "cloud.region", "cloud.availability_zone":
		return true
	}
	return false
}

// The attributes that name an agent, in the order of preference.
const (
	attrAgent    = "evenkeel.agent.id"
	attrInstance = "service.instance.id"
)

// The labels of remote write that name a writer, in the order of preference.
const (
	labelInstance = "service_instance_id"
	labelScraped  = "instance"
)
