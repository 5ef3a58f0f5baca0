package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/app"
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
			opts.From, opts.Log = args[0], slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn}))
			began := time.Now()
			identity, err := app.Restore(cmd.Context(), opts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored in %.1f s: cluster %s, epoch %d\nnot acting: %s\n",
				time.Since(began).Seconds(), identity.ClusterID, identity.Epoch, identity.Pending)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.DataDir, "data", "./data", "data directory of the server")
	f.StringVar(&opts.ConfigPath, "config", "", "configuration file, when the server is one of several replicas")
	f.StringVar(&opts.Replica, "replica", "", "name of this replica in the configuration")
	return cmd
}
