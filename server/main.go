// Evenkeel-server keeps a multi-active system level when a site fails: it stores what agents send, judges every
// site, decides, acts by signed webhooks, and proves that traffic moved.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // civil time also where the machine has no zone files

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/app"
	"github.com/evenkeel/evenkeel/server/internal/cli"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "evenkeel-server:", err)
		os.Exit(cli.ExitCode(err))
	}
}

func command(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "evenkeel-server",
		Short:         "Keeps a multi-active system level when a site fails",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(serveCommand(errOut), checkCommand(), configCommand(), detectCommand(), backtestCommand(), secretCommand(), restoreCommand(errOut), breakGlassCommand(errOut))
	root.AddCommand(cli.Commands(cli.Options{Out: out, Err: errOut})...)
	return root
}

func serveCommand(errOut io.Writer) *cobra.Command {
	var opts app.Options
	var level, format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server: one listener for agents, people and API. Without --config nothing is watched and nothing acts.
In a file that is not marked lab: true, policies without a mode only observe.

With replicas in the file this server is one of several and is told which with --replica. One of them begins the
common ledger with --bootstrap; each other one joins with the bundle that 'evenkeel-server replica add NAME' makes on a
running one. Both are needed for the first start only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(errOut, level, format)
			if err != nil {
				return err
			}
			opts.Log, opts.Version = log, version
			opts.Started = func(addr string) {
				log.Info("ready", slog.String("url", "http://"+addr), slog.String("version", version))
			}
			return app.Run(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.ConfigPath, "config", "", "configuration file (evenkeel.yaml)")
	f.StringVar(&opts.DataDir, "data", "./data", "directory for samples, ledger and the admin token")
	f.StringVar(&opts.Listen, "listen", "127.0.0.1:8450", "address for agents, people and API")
	f.StringVar(&opts.AdminListen, "admin-listen", "127.0.0.1:8451", "address for profiles; empty: none")
	f.StringVar(&opts.Replica, "replica", "", "name of this replica in the configuration; empty: this server is alone")
	f.StringVar(&opts.PeerListen, "peer-listen", "", "host:port to listen on for the other replicas, when it is not that of its peer address")
	f.BoolVar(&opts.Bootstrap, "bootstrap", false, "begin a new ledger in an empty data directory: on one replica only, once")
	f.StringVar(&opts.JoinFile, "join", "", "bundle with which an empty data directory joins the other replicas")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&format, "log-format", "json", "json or text")
	return cmd
}

func logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not one of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not one of json, text", format)
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file; every mistake comes with its place and its remedy",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			summary, err := app.CheckConfig(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), summary)
			return err
		},
	}
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config FILE",
		Short: "Print the effective configuration: defaults filled in, secrets hidden",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := app.EffectiveConfig(args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Print the JSON Schema (draft 7) of the configuration, with which editors complete keys, show what they mean and mark
mistakes. References between the parts of a file are for 'evenkeel-server check'.

    evenkeel-server config schema > evenkeel.schema.json

and as the first line of evenkeel.yaml:

    # yaml-language-server: $schema=evenkeel.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(app.ConfigSchema())
			return err
		},
	})
	return cmd
}

func detectCommand() *cobra.Command {
	var in, out, model string
	cmd := &cobra.Command{
		Use:   "detect --in DIR --out DIR",
		Short: "Judge recorded series as the server would have, row by row",
		Long: `Judge recorded series as the server would have, row by row, with the models and defaults of a running server.

DIR holds inputs.csv (columns id, kind, file) and the files it names, plain or gzipped: unix_ms,value for one series (kind
uni), unix_ms,m00,m01,... for the series of a service, which are judged together (kind multi; model auto, which is service
for them, or service). What the model does not judge is left out. unix_ms is in milliseconds since 1970; an empty value is
missing.

For each the output directory gets <id>.csv with unix_ms,score,is_anomaly and a row for every row. A larger score is odder;
-12 is that of a row that could not be judged, as while the model warms up. is_anomaly is 1 at the row at which an alarm is
raised, and 0 while it lasts. The score of model auto is minus the decimal logarithm of how often a week the like is
expected by chance, and while an alarm lasts no larger than that at which one is raised (0: once a week); that of the other
models minus the decimal logarithm of the probability of a value as far out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return app.DetectFiles(cmd.Context(), in, out, model, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&in, "in", "", "directory with inputs.csv and the series")
	f.StringVar(&out, "out", "", "directory for the scores; made where it is missing")
	f.StringVar(&model, "model", "auto", "auto, robust-z, seasonal, local-fit, cusum or service")
	for _, name := range []string{"in", "out"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

func backtestCommand() *cobra.Command {
	var o app.BacktestOptions
	var output string
	cmd := &cobra.Command{
		Use:   "backtest --config FILE",
		Short: "Say what the watches of a configuration would have said of the past",
		Long: `Say what the watches of a configuration would have said of the past that a running server has: its samples, and the incidents,
maintenances, changes and moved users on its record. FILE need not be the configuration that the server runs with: it is how a new watch is
tried before it is in use. The models judge tick by tick by the code of the server, know nothing that came later, and are kept from
learning what the server would keep from them. Nothing is changed, and the work is done here and not in the server.

False alarms are those that nothing on record explains; how many a series and week may be is the watch's
false_alarms_per_week, else 1. With --suggest the other models and a few settings are judged too, and the one that does best within that is named, with the
lines to write. It is never applied.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &core.Error{Code: core.CodeInvalid, Message: fmt.Sprintf("there is no output %q", output), Hint: "use table or json"}
			}
			o.Progress = cmd.ErrOrStderr()
			report, err := app.RunBacktest(cmd.Context(), o)
			if err != nil {
				return err
			}
			if output == "table" {
				return report.Write(cmd.OutOrStdout())
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(report)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ConfigPath, "config", "", "configuration file with the watches")
	f.StringVar(&o.Server, "server", "http://127.0.0.1:8450", "URL of the running server whose past it is")
	f.StringSliceVar(&o.Watches, "watch", nil, "names of the watches to judge, as `NAME,...` (default all)")
	f.Float64Var(&o.Days, "days", 14, "how many days of the past")
	f.BoolVar(&o.Suggest, "suggest", false, "judge other models and settings too, and name the best")
	f.StringVar(&output, "output", "table", "table or json")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func secretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Print a new signing secret for a webhook target",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), app.NewSecret().Reveal())
			return err
		},
	}
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &core.Error{
		Code: core.CodeInvalid, Message: fmt.Sprintf("one configuration file is needed, %d are given", len(args)), Hint: "as in: check evenkeel.yaml",
	}
}
