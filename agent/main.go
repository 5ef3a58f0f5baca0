package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitSettings = 2
	exitUnknown  = 3 // of probe: we cannot tell
)

func main() {
	os.Exit(command(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// command runs one command line and returns the exit code.
func command(
	ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer,
) int {
	root := newRoot(lookup) //nolint:contextcheck // cobra hands the context to the command
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return e.code
	}
	_, _ = fmt.Fprintf(stderr, "evenkeel-agent: %v\n", err)
	if _, ok := errors.AsType[settingError](err); ok {
		return exitSettings
	}
	return exitFailed
}

// exitError ends the program with a code; everything has been said.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func newRoot(lookup func(string) (string, bool)) *cobra.Command {
	root := &cobra.Command{
		Use:           "evenkeel-agent",
		Short:         "Probes, heartbeats and metrics of one site, shipped to the Evenkeel servers",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRun(lookup), newValidate(lookup), newProbe(), newChange(lookup), newHeartbeatSQL(), newComponents(), newVersion())
	return root
}

func newRun(lookup func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent until SIGTERM or SIGINT; SIGHUP reloads the pipeline",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readSettings(cmd.Flags(), lookup)
			if err != nil {
				return settingError{withScraper(err).Error()}
			}
			return run(cmd.Context(), s)
		},
	}
	addFlags(cmd.Flags())
	return cmd
}

func newValidate(lookup func(string) (string, bool)) *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check settings and pipeline without running them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readSettings(cmd.Flags(), lookup)
			if err != nil {
				return settingError{withScraper(err).Error()}
			}
			return validate(cmd.Context(), s, show, cmd.OutOrStdout())
		},
	}
	addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&show, "print", false, "print the rendered pipeline")
	return cmd
}

func validate(ctx context.Context, s settings, show bool, out io.Writer) error {
	if show && s.Config == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("ask for the host's name: %w", err)
		}
		yaml, err := render(s, host)
		if err != nil {
			return err
		}
		_, err = out.Write(yaml)
		return err
	}
	collector, err := newCollector(s)
	if err != nil {
		return err
	}
	if err := collector.DryRun(ctx); err != nil {
		return settingError{fmt.Sprintf("the pipeline is not valid: %v", err)}
	}
	_, err = fmt.Fprintln(out, "ok")
	return err
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "evenkeel-agent", buildVersion())
			return err
		},
	}
}
