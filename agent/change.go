package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/agent/changesextension"
)

func (s *settings) checkChanges() error {
	if err := changesextension.CheckAddress(s.Changes); err != nil {
		return fmt.Errorf("--changes %w", err)
	}
	return nil
}

// newChange is the command of deploy scripts. It talks to the agent of this host, so it needs no token and no server.
func newChange(lookup func(string) (string, bool)) *cobra.Command {
	var (
		req           changesextension.Request
		lasts         time.Duration
		data, address string
	)
	cmd := &cobra.Command{
		Use:   `change --what "deploy checkout 1.4" [--service checkout] [--for 30m]`,
		Short: "Tell the servers, through the agent of this host, that something of this site is being changed",
		Long: "Tell the servers, through the agent of this host, that something of this site is being changed. The agent\n" +
			"has it on disk when this command ends, and tells each server as soon as that answers.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.TTL = lasts.Seconds()
			taken, err := declare(cmd.Context(), data, address, req)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "change %s until %s is on its way to the servers (%d)\n",
				taken.ID, taken.End.Local().Format(time.DateTime), taken.Servers)
			return err
		},
	}
	or := func(env, standard string) string {
		if v, ok := lookup(env); ok {
			return v
		}
		return standard
	}
	flags := cmd.Flags()
	flags.StringVar(&req.What, "what", "", "what is changed")
	flags.StringVar(&req.Service, "service", "", "the service; empty: the whole site")
	flags.StringVar(&req.Source, "source", "operator", "what declares it")
	flags.StringVar(&req.ID, "id", "", "its id, as that of a pipeline's run: with one this can be repeated; empty: made up")
	flags.DurationVar(&lasts, "for", 30*time.Minute, "how long it takes, up to 24h")
	flags.StringVar(&data, "data", or("EVENKEEL_DATA", "data/agent"), "the agent's data directory [EVENKEEL_DATA]")
	flags.StringVar(&address, "changes", or("EVENKEEL_CHANGES", ""), "the agent's --changes [EVENKEEL_CHANGES]")
	return cmd
}

// declare says a change at the door of an agent.
func declare(ctx context.Context, data, address string, req changesextension.Request) (taken changesextension.Taken, err error) {
	if err := changesextension.CheckAddress(address); err != nil {
		return taken, settingError{"--changes " + err.Error()}
	}
	data, err = filepath.Abs(data)
	if err != nil {
		return taken, fmt.Errorf("--data: %w", err)
	}
	network, where := changesextension.Door(data, address)
	body, err := json.Marshal(req)
	if err != nil {
		return taken, err
	}
	dialer := &net.Dialer{Timeout: 3 * time.Second}
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, where)
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+changesextension.Path, bytes.NewReader(body))
	if err != nil {
		return taken, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return taken, fmt.Errorf("no agent answers at %s: is one running, with the same --data and --changes? (%w)", where, rootCause(err))
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return taken, fmt.Errorf("the agent's answer was cut short: %w", err)
	}
	if res.StatusCode != http.StatusAccepted {
		var p changesextension.Problem
		if json.Unmarshal(raw, &p) != nil || p.Detail == "" {
			p.Detail = res.Status
		}
		if res.StatusCode < http.StatusInternalServerError {
			return taken, settingError{p.Detail}
		}
		return taken, fmt.Errorf("the agent does not take it: %s", p.Detail)
	}
	return taken, json.Unmarshal(raw, &taken)
}
