package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/component"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
)

func newProbe() *cobra.Command {
	var (
		kind, connectTo, caFile string
		deadline                time.Duration
		asJSON                  bool
		expect                  probe.Options
		lag                     lagFlags
	)
	cmd := &cobra.Command{
		Use:     "probe URL | probe --engine ENGINE ...",
		Short:   "Make one probe as the agent would and say where the time went",
		Long:    probeHelp + lagHelp,
		Example: probeExamples,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case lag.server.Engine != "" && len(args) == 0:
				lag.asJSON = asJSON
				return lag.run(cmd)
			case lag.server.Engine != "" || len(args) == 0:
				return settingError{"probe takes either one URL or --engine"}
			}
			if caFile != "" {
				pem, err := os.ReadFile(caFile)
				if err != nil {
					return settingError{"--ca: " + err.Error()}
				}
				expect.CA = string(pem)
			}
			if kind == "" {
				kind, _ = probe.KindOf(args[0])
				kind = cmp.Or(kind, "tcp")
			}
			q, err := probe.Ask(kind, args[0], expect)
			if err != nil {
				return settingError{err.Error()}
			}
			overrides, err := probe.ParseOverrides(connectTo)
			if err != nil {
				return settingError{"--connect-to: " + err.Error()}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), deadline)
			defer cancel()
			via := probe.Via{Overrides: overrides, UserAgent: "evenkeel-agent/" + buildVersion()}
			res := probe.Catalogue()[kind](ctx, via, q)
			if err := explain(cmd.OutOrStdout(), q.URL.Redacted(), res, asJSON); err != nil {
				return err
			}
			switch res.State {
			case probe.Up:
				return nil
			case probe.Down:
				return exitError{exitFailed}
			case probe.Unknown:
			}
			return exitError{exitUnknown}
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", strings.Join(probe.Kinds(), ", ")+"; taken from the URL when empty")
	f.StringVar(&connectTo, "connect-to", "", "dial overrides, host:port=addr:port,...")
	f.DurationVar(&deadline, "deadline", 800*time.Millisecond, "time the probe has")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringSliceVar(&expect.Status, "status", nil, "HTTP: expected status, 200, 2xx or 200-299 (default 200-399)")
	f.StringVar(&expect.Body, "body", "", "HTTP: text that must stand in the first 64 KiB of the answer")
	f.StringVar(&expect.BodyRegexp, "body-regexp", "", "HTTP: pattern (RE2) that must match there")
	f.StringVar(&expect.Redirects, "redirects", "", "HTTP: answer (default), follow (on the same host) or refuse")
	f.StringVar(&expect.TLSName, "tls-name", "", "name the certificate must be for (default the host of the URL)")
	f.StringVar(&caFile, "ca", "", "file of certificates (PEM) to trust in place of the system's")
	f.StringVar(&expect.ALPN, "alpn", "", "TLS: protocol that must be agreed on")
	f.StringVar(&expect.Rcode, "rcode", "", "DNS: expected rcode (default NOERROR)")
	f.StringArrayVar(&expect.Answers, "answer", nil, "DNS: record that must be among the answers; may be repeated")
	lag.add(cmd)
	return cmd
}

const probeHelp = `Make one probe as the agent would and say where the time went:
  http://, https://host/path                  GET, status and body
  tcp://host:port                             a connection
  tls://host:port                             handshake, name, chain and end of the certificate
  grpc://, grpcs://host:port/service          grpc.health.v1; without a service the whole server
  dns://resolver/name?type=A                  a question to that resolver
Exit code 0 is up, 1 down, 3 unknown (the fault is ours).`

const probeExamples = `  evenkeel-agent probe https://fra.example.net/healthz --status 200 --body '"status":"pass"'
  evenkeel-agent probe tls://db.fra.example.net:5433 --ca /etc/evenkeel/ca.pem --alpn postgresql
  evenkeel-agent probe grpcs://cart.fra.example.net:443/cart.Cart
  evenkeel-agent probe 'dns://192.0.2.53/www.example.net?type=A' --answer 192.0.2.80`

// explain prints a result for a person or for a program. Times in JSON are milliseconds.
func explain(w io.Writer, url string, res probe.Result, asJSON bool) error {
	phases := []struct {
		name string
		took time.Duration
	}{
		{"dns", res.Phases.DNS},
		{"connect", res.Phases.Connect},
		{"tls", res.Phases.TLS},
		{"first_byte", res.Phases.FirstByte},
		{"body", res.Phases.Body},
		{"total", res.Phases.Total},
	}
	if asJSON {
		times := map[string]float64{}
		for _, p := range phases {
			times[p.name] = float64(p.took.Microseconds()) / 1000
		}
		var expires *time.Time // null: no certificate was seen
		if !res.Expires.IsZero() {
			expires = &res.Expires
		}
		return json.NewEncoder(w).Encode(map[string]any{
			"url": url, "state": res.State.String(), "reason": res.Reason, "detail": res.Detail,
			"status": res.Status, "remote": res.Remote, "phases_ms": times, "tls_expires": expires,
		})
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s is %s", url, res.State)
	if res.Reason != probe.ReasonNone {
		fmt.Fprintf(&out, ": %s (%s)", res.Reason, res.Detail)
	}
	out.WriteString("\n")
	if res.Remote != "" {
		fmt.Fprintf(&out, "  connected to %s\n", res.Remote)
	}
	if res.Status != 0 {
		fmt.Fprintf(&out, "  answered %d\n", res.Status)
	}
	if !res.Expires.IsZero() {
		days := time.Until(res.Expires).Hours() / 24
		fmt.Fprintf(&out, "  certificate ends %s (in %.1f days)\n", res.Expires.UTC().Format(time.RFC3339), days)
	}
	for _, p := range phases {
		if p.took > 0 {
			fmt.Fprintf(&out, "  %-10s %8.1f ms\n", p.name, float64(p.took.Microseconds())/1000)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func newComponents() *cobra.Command {
	return &cobra.Command{
		Use: "components", Short: "List what this distribution is made of", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := newShared().factories()
			if err != nil {
				return err
			}
			var out strings.Builder
			listNames(&out, "extensions", f.Extensions)
			listNames(&out, "receivers", f.Receivers)
			listNames(&out, "processors", f.Processors)
			listNames(&out, "exporters", f.Exporters)
			_, err = io.WriteString(cmd.OutOrStdout(), out.String())
			return err
		},
	}
}

func listNames[F any](out *strings.Builder, kind string, factories map[component.Type]F) {
	names := map[string]bool{}
	for name := range factories {
		names[name.String()] = true
	}
	fmt.Fprintf(out, "%s: %s\n", kind, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
}
