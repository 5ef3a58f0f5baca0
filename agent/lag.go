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

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/replicationlagreceiver"
)

// lagFlags say where to look once at a replication link.
type lagFlags struct {
	server replicationlagreceiver.Server
	other  replicationlagreceiver.OtherEnd
	link   replicationlagreceiver.Link
	beats  replicationlagreceiver.Heartbeat
	beaten bool
	name   string
	wait   time.Duration
	asJSON bool
}

func (f *lagFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.server.Engine, "engine", "", "look at a replication link instead: "+strings.Join(replicationlagreceiver.Engines(), ", "))
	flags.StringVar(&f.server.DSN, "dsn", "", "postgresql: where and as whom, as libpq reads it, without the password")
	flags.StringVar(&f.server.Address, "address", "", "mysql (MariaDB too), redis, nats, kafka: host:port")
	flags.StringVar(&f.server.User, "user", "", "mysql, redis, nats, kafka: as whom")
	flags.StringVar(&f.server.PasswordFile, "password-file", "", "file with the password")
	flags.BoolVar(&f.beaten, "heartbeat", false, "read the heartbeat of the link's source too; see evenkeel-agent heartbeat-sql")
	flags.StringVar(&f.beats.Database, "heartbeat-database", "", "mysql: database with the heartbeat tables")
	flags.StringVar(&f.beats.Topic, "heartbeat-topic", "", "kafka: topic of the heartbeats in the source's cluster")
	flags.StringVar(&f.other.Address, "other-address", "", "redis, nats: the server at the other end of the link, to compare with")
	flags.StringVar(&f.name, "link", "store:a>b", "name of the link: STORE:FROM>TO")
	flags.StringVar(&f.link.Channel, "channel", "", "subscription, connection or channel, where there are several; nats: the stream at the source; kafka: the consumer group, none for MirrorMaker 2")
	flags.StringVar(&f.link.End, "end", string(replica.Target), "which end the server is: source or target")
	flags.StringVar(&f.link.Peer, "peer", "", "how the other end is known there: slot, application name or host; nats: the stream at the target; kafka: the topics, or MirrorMaker's alias of the source")
	flags.DurationVar(&f.wait, "wait", 5*time.Second, "how long to look again where one look does not tell how far behind the target is")
}

const lagHelp = `

With --engine it looks at one end of a replication link, again where one look does not tell all (--wait), says what it saw, and exits with 0 when the link is alive,
1 when it is not, 3 when that is not known. The agent does the same for all databases of its site with
--replication FILE, a YAML list of them:

  - engine: postgresql
    dsn: "host=127.0.0.1 user=evenkeel dbname=postgres"
    password_file: /etc/evenkeel/pg.password
    links:
      - {store: orders, from: fra, to: ams, end: target}`

// lag looks once and explains.
func (f *lagFlags) run(cmd *cobra.Command) error {
	store, ends, ok := strings.Cut(f.name, ":")
	from, to, ok2 := strings.Cut(ends, ">")
	if !ok || !ok2 {
		return settingError{fmt.Sprintf("--link %q is no name of a link: write it as in orders:fra>ams", f.name)}
	}
	f.link.Store, f.link.From, f.link.To = store, from, to
	f.server.Links = []replicationlagreceiver.Link{f.link}
	if f.beaten || f.beats.Database != "" || f.beats.Topic != "" {
		f.server.Heartbeat = &f.beats
	}
	if f.other.Address != "" {
		f.other.User, f.other.PasswordFile = f.server.User, f.server.PasswordFile
		f.server.OtherEnd = &f.other
	}
	w, err := replicationlagreceiver.NewWatcher(cmd.Context(), f.server)
	if err != nil {
		return settingError{err.Error()}
	}
	defer w.Close()
	st := f.look(cmd.Context(), w)
	if err := explainLag(cmd.OutOrStdout(), st, f.asJSON); err != nil {
		return err
	}
	switch st.State {
	case replica.CaughtUp, replica.CatchingUp, replica.IdleLinkOK, replica.DelayedByDesign:
		return nil
	case replica.LinkDown, replica.ApplierStopped, replica.Resyncing, replica.NoPrimary:
		return exitError{exitFailed}
	case replica.Unknown:
	}
	return exitError{exitUnknown}
}

// again is the time between the looks of a probe.
const again = time.Second

// look looks until it knows how far the copy is, which some servers show by what changes between two looks only. A source's end that
// is not told what its copy has does not learn it by waiting.
func (f *lagFlags) look(ctx context.Context, w *replicationlagreceiver.Watcher) replica.Status {
	for end := time.Now().Add(f.wait); ; {
		st := w.Look(ctx)[0]
		if st.End == replica.Source || st.Reason != replica.ReasonNotMeasured || time.Until(end) < again {
			return st
		}
		select {
		case <-ctx.Done():
			return st
		case <-time.After(again):
		}
	}
}

// explainLag prints a status for a person or for a program. Absent figures are not there.
func explainLag(w io.Writer, st replica.Status, asJSON bool) error {
	figures := map[string]float64{}
	duration := func(name string, d replica.Opt[time.Duration]) {
		if d.OK {
			figures[name] = d.V.Seconds()
		}
	}
	count := func(name string, n replica.Opt[int64]) {
		if n.OK {
			figures[name] = float64(n.V)
		}
	}
	duration("lag_lower_seconds", st.Lower)
	duration("lag_upper_seconds", st.Upper)
	duration("exposure_seconds", st.Exposure)
	duration("link_age_seconds", st.LinkAge)
	count("lag_bytes", st.Bytes)
	count("lag_transactions", st.Transactions)
	count("lag_messages", st.Messages)
	for _, m := range st.Extra {
		name := []string{m.Name}
		for _, label := range slices.Sorted(maps.Keys(m.Labels)) {
			name = append(name, label+"="+m.Labels[label])
		}
		figures[strings.Join(name, ",")] = m.Value
	}
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{
			"link": st.Link.Name(), "channel": st.Link.Channel, "end": st.End, "state": st.State.String(), "reason": st.Reason, "detail": st.Detail, "figures": figures,
		})
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s) is %s", st.Link.Name(), st.End, st.State)
	if st.Reason != "" {
		fmt.Fprintf(&out, ": %s", st.Reason)
	}
	if st.Detail != "" {
		fmt.Fprintf(&out, " (%s)", st.Detail)
	}
	out.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		fmt.Fprintf(&out, "  %-32s %.3f\n", name, figures[name])
	}
	_, err := io.WriteString(w, out.String())
	return err
}
