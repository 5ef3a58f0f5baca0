package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

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

// A series that vanished in the midst of its trouble is not kept, and says so anew when it comes back.
func TestTheServersOwnTroubleIsForgottenWithItsSeries(t *testing.T) {
	var log bytes.Buffer
	o := newOwnSigns(slog.New(slog.NewTextHandler(&log, nil)), func([]core.Signal) {})
	start := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	f := func(at time.Duration, state core.DetectorState, replica string) {
		t.Helper()
		o.take([]core.Signal{{
			Detector: "store-disk", Subject: core.Subject{Site: selfSite, Service: core.AllServices}, State: state, At: start.Add(at),
			Interval: 10 * time.Second, Labels: map[string]string{"replica": replica},
		}})
	}
	for i := range 1000 {
		f(time.Duration(i)*time.Minute, core.DetectorAnomalous, fmt.Sprint("r", i))
	}
	if len(o.on) != 1 {
		t.Errorf("%d series are kept, want the newest", len(o.on))
	}
	log.Reset()
	f(1001*time.Minute, core.DetectorAnomalous, "r0")
	f(1002*time.Minute, core.DetectorUnknown, "r0")
	f(1003*time.Minute, core.DetectorAnomalous, "r0")
	if got := strings.Count(log.String(), "not well"); got != 1 {
		t.Errorf("said %d times, want once: %s", got, log.String())
	}
}
