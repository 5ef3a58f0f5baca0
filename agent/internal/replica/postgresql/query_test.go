package postgresql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestNew(t *testing.T) {
	f := func(name string, o Options, want string) {
		t.Helper()
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if err != nil {
			noSecret(t, err.Error())
		}
	}
	good := []LinkSpec{atSource}
	f("no links", Options{DSN: "host=x"}, "no links")
	f("no store", Options{Links: []LinkSpec{{End: replica.Source}}}, "must be named")
	f("no end", Options{Links: []LinkSpec{{Store: "s", From: "a", To: "b"}}}, "want source or target")
	f("no peer", Options{Links: []LinkSpec{{Store: "s", From: "a", To: "b", End: replica.Source}}}, "must know its target")
	for _, dsn := range []string{
		"postgres://evenkeel:" + canary + "@host:notaport/db", "host=x password=" + canary + " port=y", "postgres://e:" + canary + "@%zz/",
		"password='" + canary, "host=x password=" + canary + " sslmode=perhaps",
	} {
		f("a bad connection string", Options{DSN: dsn, Links: good}, "connection string")
	}
}

// TestMute: a server that accepts and never answers costs one Timeout, and is unknown(timeout) for every link.
func TestMute(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e, err := New(Options{
		DSN: fmt.Sprintf("postgres://evenkeel:%s@%s/x?sslmode=disable", canary, l.Addr()), Timeout: 300 * time.Millisecond,
		Links: []LinkSpec{atSource, atTarget},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	began := time.Now()
	r := e.Look(t.Context())
	if took := time.Since(began); took > replicatest.Patience {
		t.Errorf("took %v", took)
	}
	if len(r.Sightings) != 2 || r.Sightings[0].End != replica.Source || r.Sightings[1].End != replica.Target {
		t.Fatalf("%+v", r)
	}
	for _, s := range r.Sightings {
		if s.State != replica.Unknown || s.Reason != replica.ReasonTimeout {
			t.Errorf("%v(%s) %s", s.State, s.Reason, s.Detail)
		}
	}
	noSecret(t, fmt.Sprintf("%+v %#v", r, e.dial))
}

func TestExplain(t *testing.T) {
	f := func(err error, want replica.Reason) {
		t.Helper()
		reason, detail := explain(fmt.Errorf("with %s: %w", canary, err))
		if reason != want || detail == "" {
			t.Errorf("%v: %s %q, want %s", err, reason, detail, want)
		}
		noSecret(t, detail)
	}
	for code, want := range map[string]replica.Reason{
		"28P01": replica.ReasonAuth, "28000": replica.ReasonAuth, "42501": replica.ReasonPrivilege, "57014": replica.ReasonTimeout,
		"57P03": replica.ReasonConnect, "57P01": replica.ReasonConnect, "53300": replica.ReasonConnect, "3D000": replica.ReasonMisconfigured,
		"42P01": replica.ReasonMisconfigured, "": replica.ReasonQuery,
	} {
		f(&pgconn.PgError{Code: code, Message: canary}, want)
	}
	f(context.DeadlineExceeded, replica.ReasonTimeout)
	f(&net.OpError{Op: "dial", Err: errors.New("refused")}, replica.ReasonConnect)
	f(errConnect, replica.ReasonConnect)
	f(errVersion, replica.ReasonMisconfigured)
	f(errPasswordFile, replica.ReasonMisconfigured)
	f(errAnswer, replica.ReasonIncomplete)
	f(errors.New("reset"), replica.ReasonConnect)
}
