package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"go.opentelemetry.io/collector/confmap"

	"github.com/evenkeel/evenkeel/agent/controlextension"
	"github.com/evenkeel/evenkeel/agent/fastexporter"
)

//go:embed agent.yaml
var agentYAML string

// scheme is the confmap scheme of the built-in pipeline.
const scheme = "evenkeel"

// view is what agent.yaml may use.
type view struct {
	settings
	Servers     []serverView
	Host        string
	QueueDir    string
	BufferBytes int64
	SiteRole    bool
	HostMetrics bool
	// BulkReceivers are those that can have many series, with commas between; empty: there are none.
	BulkReceivers string
}

// serverView is one server with the names of its two ways out. They come from its address, not from its place
// in the list: a queue on disk must find its own server again when the list changes.
type serverView struct {
	URL, Fast, Bulk string
}

// render fills the built-in pipeline in.
func render(s settings, host string) ([]byte, error) {
	v := view{
		settings: s, Host: host, QueueDir: filepath.Join(s.Data, "queue"), BufferBytes: s.BufferMiB << 20,
		SiteRole:    s.Role == controlextension.RoleSite,
		HostMetrics: s.Role == controlextension.RoleHost || s.HostMetrics,
	}
	v.BulkReceivers = bulkReceivers(v.HostMetrics, s.OTLP != "", s.Scraping())
	for _, url := range s.Servers {
		name := queueName(url)
		v.Servers = append(v.Servers, serverView{
			URL: url, Fast: fastexporter.TypeName + "/" + name, Bulk: "otlp_http/" + name,
		})
	}
	parsed, err := template.New("agent.yaml").Funcs(template.FuncMap{"q": quote}).Parse(agentYAML)
	if err != nil {
		return nil, fmt.Errorf("parse built-in pipeline: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("render pipeline: %w", err)
	}
	return out.Bytes(), nil
}

func bulkReceivers(host, otlp, scraping bool) string {
	var names []string
	for _, r := range []struct {
		on   bool
		name string
	}{{host, "host_metrics"}, {otlp, "otlp"}, {scraping, "prometheus"}} {
		if r.on {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, ", ")
}

// quote makes a YAML scalar of any string. A dollar sign is doubled: confmap would expand it otherwise.
func quote(s string) (string, error) {
	raw, err := json.Marshal(s)
	return strings.ReplaceAll(string(raw), "$", "$$"), err
}

// queueName turns a server's URL into a name for components and for the file of its queue.
func queueName(url string) string {
	_, rest, _ := strings.Cut(strings.ToLower(url), "://")
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, rest)
}

// builtIn is the confmap provider of the rendered pipeline.
type builtIn struct{ yaml []byte }

var _ confmap.Provider = builtIn{}

func (b builtIn) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML(b.yaml)
}

func (builtIn) Scheme() string                 { return scheme }
func (builtIn) Shutdown(context.Context) error { return nil }
