package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/agent/replicationlagreceiver"
)

func newHeartbeatSQL() *cobra.Command {
	var (
		plan  replicationlagreceiver.SetUp
		peers string
	)
	cmd := &cobra.Command{
		Use:   "heartbeat-sql --engine ENGINE",
		Short: "Print what an administrator sets up for the heartbeat of one kind of database",
		Long: "Print what an administrator sets up once for the heartbeat: tables, an account that may do nothing else, and what makes the\n" +
			"engine replicate it. Nothing is run. The agent is then told in its --replication file:\n\n" +
			"    heartbeat: {write: true, ...}",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan.Peers = list(strings.ReplaceAll(peers, "/", ""))
			text, err := plan.Text()
			if err != nil {
				return settingError{err.Error()}
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&plan.Engine, "engine", "", strings.Join(replicationlagreceiver.HeartbeatEngines(), ", "))
	flags.StringVar(&plan.Account, "account", "evenkeel_beat", "name of the account")
	flags.StringVar(&plan.Origin, "origin", "fra", "site of the server")
	flags.StringVar(&peers, "peers", "ams", "the other sites, with commas between")
	flags.StringVar(&plan.Database, "database", "evenkeel", "mysql: where the tables are to be")
	flags.StringVar(&plan.Stream, "stream", "ORDERS", "nats: the stream of this site")
	flags.StringVar(&plan.Copy, "copy", "", "nats: the stream here that copies the other site's (default: that of --stream with -copy)")
	flags.StringVar(&plan.Topic, "topic", "evenkeel-heartbeat", "kafka: the topic of heartbeats in each site's cluster; the peers are MirrorMaker's aliases")
	if err := cmd.MarkFlagRequired("engine"); err != nil {
		panic(fmt.Sprintf("a flag that was just declared is not there: %v", err))
	}
	return cmd
}
