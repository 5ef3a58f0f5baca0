package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What is said of the server itself is logged when it begins and when it is over, and nothing else is kept from health.
func TestTheServersOwnTroubleIsLogged(t *testing.T) {
	var log bytes.Buffer
	var heard []core.Signal
	o := newOwnSigns(slog.New(slog.NewTextHandler(&log, nil)), func(s []core.Signal) { heard = append(heard, s...) })
	sign := func(site string, state core.DetectorState) core.Signal {
		return core.Signal{
			Detector: "store-disk", Subject: core.Subject{Site: site, Service: core.AllServices}, State: state, Sentence: "it fills",
			Labels: map[string]string{"replica": "r1"},
		}
	}
	f := func(state core.DetectorState, want string) {
		t.Helper()
		log.Reset()
		o.take([]core.Signal{sign("fra", state), sign(selfSite, state)})
		if got := log.String(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: logged %q", state, got)
		}
	}
	f(core.DetectorNormal, "")
	f(core.DetectorAnomalous, `msg="the server is not well" watch=store-disk what="it fills"`)
	f(core.DetectorAnomalous, "")
	f(core.DetectorUnknown, "") // nobody knows that it is over
	f(core.DetectorAnomalous, "")
	f(core.DetectorNormal, "well again")
	o.take([]core.Signal{sign("ams", core.DetectorAnomalous)})
	if len(heard) != 7 || heard[6].Subject.Site != "ams" {
		t.Errorf("heard of %d", len(heard))
	}
}
