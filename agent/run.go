package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/otelcol"
)

// memoryLimit is where the garbage collector starts to work harder. The live heap of a site agent is a
// tenth of it.
const memoryLimit = 48 << 20

// newCollector builds the Collector for the settings.
func newCollector(s settings) (*otelcol.Collector, error) {
	uri := scheme + ":pipeline"
	var yaml []byte
	if s.Config != "" {
		uri = "file:" + s.Config
	} else {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("ask for the host's name: %w", err)
		}
		if yaml, err = render(s, host); err != nil {
			return nil, err
		}
	}
	return otelcol.NewCollector(otelcol.CollectorSettings{
		Factories: newShared().factories,
		BuildInfo: component.BuildInfo{Command: "evenkeel-agent", Description: "Evenkeel agent", Version: buildVersion()},
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs: []string{uri},
			ProviderFactories: []confmap.ProviderFactory{
				confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return builtIn{yaml: yaml} }),
				confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider {
					return scraped{file: s.Scrape, targets: s.Targets}
				}),
				envprovider.NewFactory(), fileprovider.NewFactory(), yamlprovider.NewFactory(),
			},
			DefaultScheme: "env",
		}},
	})
}

// run starts the agent and blocks until a signal or the end of ctx stops it.
func run(ctx context.Context, s settings) error {
	unlock, err := prepare(s)
	if err != nil {
		return err
	}
	defer unlock()
	limitMemory(os.LookupEnv)
	collector, err := newCollector(s)
	if err != nil {
		return err
	}
	return collector.Run(ctx)
}

// prepare makes the data directory, locks it, and sees that the ports are free. What it finds is said in a
// sentence with the remedy, before the Collector would say it in its own words.
func prepare(s settings) (unlock func(), err error) {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, settingError{fmt.Sprintf(
			"data directory %s cannot be made: %v; choose another with --data", s.Data, rootCause(err))}
	}
	if unlock, err = lock(filepath.Join(s.Data, "agent.lock")); err != nil {
		return nil, settingError{fmt.Sprintf("data directory %s cannot be locked: %v", s.Data, err)}
	}
	if s.Config != "" {
		return unlock, nil
	}
	for _, port := range []struct{ flag, address string }{{"health", s.Health}, {"otlp", s.OTLP}, {"changes", s.Changes}} {
		if err := portFree(port.flag, port.address); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

func portFree(flag, address string) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return settingError{fmt.Sprintf(
			"%s is taken: is another agent running? Choose another address with --%s, or turn it off with --%s=",
			address, flag, flag)}
	case err != nil:
		return settingError{fmt.Sprintf(
			"cannot listen on %s: %v; choose another address with --%s", address, rootCause(err), flag)}
	}
	return listener.Close()
}

// limitMemory keeps the heap small unless the operator has said otherwise in the environment.
func limitMemory(lookup func(string) (string, bool)) {
	if _, ok := lookup("GOMEMLIMIT"); !ok {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// settingError is a fault of the settings: the agent exits with code 2 and the sentence.
type settingError struct{ sentence string }

func (e settingError) Error() string { return e.sentence }

// rootCause is the innermost error, for a short sentence.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// version is set by the linker: -X main.version=v1.2.3.
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		return info.Main.Version
	}
	return "dev"
}
