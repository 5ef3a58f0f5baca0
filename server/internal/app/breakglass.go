package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// BreakGlassOptions are what a command past the servers needs.
type BreakGlassOptions struct {
	ConfigPath string
	DataDir    string // the record goes to DataDir/break-glass
	Target     string // may be empty when the configuration has one
	ClusterID  string // may be empty when the executor knows one
	Kind       core.PlanKind
	Subject    core.Subject
	By         string // empty: the user who runs this process
	Reason     string
	Version    string
	Log        *slog.Logger
}

const (
	glassFor   = 30 * time.Second // how long a command is tried
	glassRetry = 2 * time.Second
	glassValid = 2 * time.Minute // not_after
)

// BreakTheGlass commands an executor with the token after the one it holds. Nothing of the server is asked: no guard, no
// ledger; only the name of its cluster, when the executor has obeyed nobody so far. The record is on disk before the command is sent, and says afterwards what came of it; it is returned with its
// path also when the executor refused.
func BreakTheGlass(ctx context.Context, o BreakGlassOptions) (core.BreakGlass, string, error) {
	c, err := config.Load(o.ConfigPath)
	if err != nil {
		return core.BreakGlass{}, "", err
	}
	b, err := o.record(c)
	if err != nil {
		return core.BreakGlass{}, "", err
	}
	i := slices.IndexFunc(c.Targets, func(t config.Target) bool { return t.Name == b.Target })
	target, err := newTarget(c.Targets[i], o.Version)
	if err != nil {
		return core.BreakGlass{}, "", err
	}
	standing, err := target.Preflight(ctx, cmp.Or(o.ClusterID, "break-glass"))
	if err != nil {
		return core.BreakGlass{}, "", &core.Error{
			Code: core.CodeUnavailable, Message: "the executor " + b.Target + " does not say which token it obeys, so it cannot be commanded", Err: err,
			Hint: "move the traffic with the executor's own tools; the servers will see it and hold",
		}
	}
	cluster, err := clusterFor(ctx, c, o.ClusterID, standing)
	if err != nil {
		return core.BreakGlass{}, "", err
	}
	token, err := standing.Next(cluster)
	if err != nil {
		return core.BreakGlass{}, "", &core.Error{Code: core.CodeInvalid, Message: "no token can be made", Err: err, Hint: "name the cluster with --cluster-id"}
	}
	b.ClusterID, b.Epoch, b.Seq = token.ClusterID, token.Epoch, token.Seq
	b.At, b.Result = time.Now().UTC(), "unknown"
	path, err := keepRecord(o.DataDir, b)
	if err != nil {
		return core.BreakGlass{}, "", err
	}
	b.Result, b.Detail = send(ctx, target, glassRequest(b, o.Kind, token))
	if _, err := keepRecord(o.DataDir, b); err != nil {
		return b, path, err
	}
	if o.Log != nil {
		o.Log.WarnContext(ctx, "glass broken", slog.String("subject", b.Subject.String()), slog.String("target", b.Target), slog.String("result", b.Result))
	}
	return b, path, nil
}

// clusterFor is the cluster in whose name an executor is commanded. One that has obeyed nobody so far obeys that one alone from
// then on, and would refuse the ledger for a slip of the pen: so the servers that still answer are asked for the name.
func clusterFor(ctx context.Context, c config.Config, given string, standing remediations.Standing) (string, error) {
	if len(standing.Obeys) > 0 || len(standing.Epochs) > 0 {
		return given, nil
	}
	urls := []string{c.Server.URL}
	for _, r := range c.Replicas {
		urls = append(urls, r.URL)
	}
	told := askAll(ctx, urls, clusterAt)
	slices.Sort(told)
	told = slices.DeleteFunc(slices.Compact(told), func(cluster string) bool { return cluster == "" })
	switch {
	case given == "" && len(told) == 1:
		return told[0], nil
	case given != "" && len(told) > 0 && !slices.Contains(told, given):
		return "", &core.Error{
			Code:    core.CodeInvalid,
			Message: fmt.Sprintf("the executor has obeyed nobody so far and would obey cluster %s alone from now on; the servers are of %s", given, strings.Join(told, ", ")),
			Hint:    "name it with --cluster-id " + told[0],
		}
	}
	return given, nil
}

// record checks what is asked and begins the record of it.
func (o BreakGlassOptions) record(c config.Config) (core.BreakGlass, error) {
	bad := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	var names []string
	for _, t := range c.Targets {
		names = append(names, t.Name)
	}
	target := o.Target
	if target == "" && len(names) == 1 {
		target = names[0]
	}
	topology := c.Topology(0)
	_, site := topology.Site(o.Subject.Site)
	serves := o.Subject.WholeSite() || slices.Contains(topology.Serving(o.Subject.Service), o.Subject.Site)
	switch {
	case strings.TrimSpace(o.Reason) == "":
		return core.BreakGlass{}, bad(`say why, as in --reason "no quorum"`, "nothing is commanded without a reason")
	case !slices.Contains(names, target):
		return core.BreakGlass{}, bad("name one of: "+strings.Join(names, ", "), "the configuration has no target %q", target)
	case o.ClusterID != "" && core.CheckClusterID(o.ClusterID) != nil:
		return core.BreakGlass{}, core.CheckClusterID(o.ClusterID)
	case !site || !serves:
		return core.BreakGlass{}, bad("use a site and a service of the file, or all", "%s is not configured", o.Subject)
	}
	by := o.By
	if by == "" {
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	b := core.BreakGlass{
		ID: "bg_" + strings.ToLower(rand.Text()), Subject: o.Subject, Target: target, State: core.RoutingDrained,
		By: cmp.Or(by, "unknown"), Reason: strings.TrimSpace(o.Reason), Overrides: []string{"all"},
	}
	if o.Kind == core.PlanRestore {
		b.State, b.Weight = core.RoutingActive, 100
	}
	return b, nil
}

func glassRequest(b core.BreakGlass, kind core.PlanKind, token remediations.Fencing) remediations.Request {
	r := remediations.Request{
		ID: b.ID + "_1", Type: remediations.TypeDrain, At: b.At,
		Data: remediations.Data{
			ActionID: b.ID, Site: b.Subject.Site, Service: b.Subject.Service, DesiredState: remediations.DesiredDrained,
			Scope: []string{string(core.ScopeReads)}, Seq: token.Seq, Fencing: token, Mode: core.ModeApprove.String(),
			NotBefore: b.At, NotAfter: b.At.Add(glassValid), Step: remediations.Step{N: 1, Of: 1, Weight: b.Weight},
			Reason: remediations.Reason{Summary: "break-glass by " + b.By + ": " + b.Reason},
		},
	}
	if kind == core.PlanRestore {
		r.Type, r.Data.DesiredState = remediations.TypeRestore, remediations.DesiredActive
	}
	return r
}

// send tries until an answer counts, and says what it was.
func send(ctx context.Context, target remediations.Target, r remediations.Request) (result, detail string) {
	ctx, cancel := context.WithTimeout(ctx, glassFor)
	defer cancel()
	result = "failed" // unless an attempt may have arrived
	for {
		receipt, err := target.Do(ctx, r)
		var permanent *remediations.Permanent
		var unknown *remediations.Unknown
		switch {
		case err == nil && receipt.State == remediations.StateDone:
			return "done", receipt.Detail
		case err == nil && (receipt.State == remediations.StateRefused || receipt.State == remediations.StateStale || receipt.State == remediations.StateExpired):
			return "refused", strings.TrimSpace(receipt.State.String() + " " + receipt.RefusedBy + " " + receipt.Detail)
		case err == nil && receipt.State == remediations.StateAccepted:
			result, detail = "accepted", receipt.Detail
		case errors.As(err, &permanent):
			return "failed", firstLine(err.Error())
		case errors.As(err, &unknown):
			result, detail = "unknown", firstLine(err.Error())
		case err != nil && result == "failed":
			detail = firstLine(err.Error())
		}
		select {
		case <-ctx.Done():
			return result, detail
		case <-time.After(glassRetry):
		}
	}
}

// keepRecord writes the record, whole or not at all.
func keepRecord(data string, b core.BreakGlass) (string, error) {
	dir := filepath.Join(data, "break-glass")
	path := filepath.Join(dir, b.ID+".json")
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return "", fmt.Errorf("encode the record: %w", err)
	}
	if err = os.MkdirAll(dir, 0o700); err == nil {
		err = writeWhole(path, func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
	}
	if err != nil {
		return "", &core.Error{
			Code: core.CodeUnavailable, Message: "the record cannot be written, so nothing is commanded", Err: err,
			Hint: "give a directory that may be written with --data, also on another disk",
		}
	}
	return path, nil
}
