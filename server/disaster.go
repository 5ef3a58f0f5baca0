package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/app"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func restoreCommand(errOut io.Writer) *cobra.Command {
	var opts app.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the ledger of a stopped server out of a backup",
		Long: `Make the ledger of a stopped server out of a backup, in a data directory without one. The epoch is raised, and the
server that starts with it reads and does not act: look at what happened since the backup, ask the executors with
'evenkeel-server preflight', then say 'evenkeel-server adopt'. Of several replicas restore one; the others join it anew
with the bundles of 'evenkeel-server replica replace NAME', each with an empty data directory.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.From, opts.Log = args[0], slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelError}))
			began := time.Now()
			identity, err := app.Restore(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "restored in %.1f s: cluster %s, epoch %d\nnot acting: %s\n",
				time.Since(began).Seconds(), identity.ClusterID, identity.Epoch, identity.Pending); err != nil || opts.Replica == "" {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "next: start it, then for each other replica: stop it, move its data away, make a bundle here with\n"+
				"  evenkeel-server replica replace NAME --out FILE\nand start it with serve --join FILE\n")
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.DataDir, "data", "./data", "data directory of the server")
	f.StringVar(&opts.ConfigPath, "config", "", "configuration file, when the server is one of several replicas")
	f.StringVar(&opts.Replica, "replica", "", "name of this replica in the configuration")
	return cmd
}

func breakGlassCommand(errOut io.Writer) *cobra.Command {
	var o app.BreakGlassOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "break-glass drain|restore SITE SERVICE",
		Short: "Command an executor directly, past the servers and all their guards",
		Long: `Command an executor directly, past the servers and all their guards: for when no server can act. It asks the executor
which token it obeys, commands with the next one, and leaves a record in the data directory. When the servers are back,
'evenkeel-server reconcile' puts the record into the ledger; until then they see a routing that they did not command,
and hold.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 3 && (args[0] == string(core.PlanDrain) || args[0] == string(core.PlanRestore)) {
				return nil
			}
			return &core.Error{
				Code: core.CodeInvalid, Message: "break-glass takes drain or restore, a site and a service (or all)",
				Hint: `as in: break-glass drain fra checkout --target director --config evenkeel.yaml --reason "no quorum, fra is burning" --yes`,
			}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Kind, o.Subject = core.PlanKind(args[0]), core.Subject{Site: args[1], Service: args[2]}
			o.Log, o.Version = slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn})), version
			if !yes {
				return &core.Error{
					Code: core.CodeInvalid, Message: "no guard is asked, and nobody but you will know whether this is right",
					Hint: "add --yes when it is",
				}
			}
			record, path, err := app.BreakTheGlass(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s at %s: %s\nrecord %s; when the servers are back: evenkeel-server reconcile --data %s\n",
				record.Subject, record.State, record.Target, record.Result, path, o.DataDir)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ConfigPath, "config", "evenkeel.yaml", "configuration file with the target and its secret")
	f.StringVar(&o.DataDir, "data", "./data", "data directory, where the record is kept")
	f.StringVar(&o.Target, "target", "", "name of the target in the configuration (may be left out when there is only one)")
	f.StringVar(&o.ClusterID, "cluster-id", "", "cluster in whose name to command, when the executor has obeyed several")
	f.StringVar(&o.By, "by", "", "your name, for the record (default: the user who runs this)")
	f.StringVar(&o.Reason, "reason", "", "why; it goes on the record")
	f.BoolVar(&yes, "yes", false, "do it")
	return cmd
}
