package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/component"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
)

func newProbe() *cobra.Command {
	var (
		kind, connectTo string
		deadline        time.Duration
		asJSON          bool
		lag             lagFlags
	)
	cmd := &cobra.Command{
		Use:   "probe URL | probe --engine ENGINE ...",
		Short: "Make one probe as the agent would and say where the time went",
		Long: "Make one probe (http://, https:// or tcp://) as the agent would and say where the time went.\n" +
			"Exit code 0 is up, 1 down, 3 unknown (the fault is ours)." + lagHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case lag.server.Engine != "" && len(args) == 0:
				lag.asJSON = asJSON
				return lag.run(cmd)
			case lag.server.Engine != "" || len(args) == 0:
				return settingError{"probe takes either one URL or --engine"}
			}
			if kind == "" {
				kind = "http"
				if !strings.HasPrefix(args[0], "http://") && !strings.HasPrefix(args[0], "https://") {
					kind = "tcp"
				}
			}
			u, err := probe.ParseURL(kind, args[0])
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
			res := probe.Catalogue()[kind](ctx, via, u)
			if err := explain(cmd.OutOrStdout(), u.Redacted(), res, asJSON); err != nil {
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
	cmd.Flags().StringVar(&kind, "kind", "", "http or tcp; taken from the URL when empty")
	cmd.Flags().StringVar(&connectTo, "connect-to", "", "dial overrides, host:port=addr:port,...")
	cmd.Flags().DurationVar(&deadline, "deadline", 800*time.Millisecond, "time the probe has")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	lag.add(cmd)
	return cmd
}

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
		return json.NewEncoder(w).Encode(map[string]any{
			"url": url, "state": res.State.String(), "reason": res.Reason, "detail": res.Detail,
			"status": res.Status, "remote": res.Remote, "phases_ms": times,
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
