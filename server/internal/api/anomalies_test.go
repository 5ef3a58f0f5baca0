package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestAnomalies(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	slow := core.Evidence{
		Class: core.ClassSymptom, Signal: core.SignalAnomaly, Source: "edge-latency", Series: "edge-latency of checkout at fra", Onset: at,
		Band: &core.Band{Value: 0.99987, Expected: 0.02, Lower: -0.98, Upper: 1.02}, Sentence: "edge-latency of checkout at fra: at length",
		Others: []string{"edge-latency of cart at fra", "2 more"}, Numbers: []core.Number{{Name: core.NumberPoints, Value: 8640}, {Name: core.NumberKeptOut, Value: 0.0312}},
	}
	disk := core.Evidence{
		Class: core.ClassCause, Signal: core.SignalAnomaly, Source: "disk", Series: `disk{host_name="a"} of fra`, Onset: at,
		Sentence: `disk{host_name="a"} of fra: 0.622 reaches 0.9 in 28 s, since 12:00:00 UTC`,
	}
	old := slow
	old.Series, old.Sentence, old.Numbers = "", "as an older replica says it", slow.Numbers[:1]
	edge := core.Evidence{Class: core.ClassSymptom, Signal: core.SignalErrors, Source: "director", Onset: at, Sentence: "users fail"}
	o := core.Observation{Assessments: []core.Assessment{
		{Subject: core.Subject{Site: "fra", Service: "cart"}, Evidence: []core.Evidence{disk}},
		{Subject: core.Subject{Site: "fra", Service: "checkout"}, Evidence: []core.Evidence{edge, disk}, Odd: []core.Evidence{slow, old}},
	}}
	got := anomalies(o)
	want := []Anomaly{
		{Detector: "disk", ID: some(core.AlarmID("disk", disk.Series, at)), Class: core.ClassCause, Since: at, Sentence: disk.Sentence},
		{
			Detector: "edge-latency", ID: some(core.AlarmID("edge-latency", slow.Series, at)), Class: core.ClassSymptom, Since: at,
			Sentence: "edge-latency of checkout at fra: 0.9999, expected 0.02, band -0.98 to 1.02, since 12:00:00 UTC; odd as well: edge-latency of cart at fra, 2 more",
			Why:      some("the band rests on 8640 values; 3.1 % were kept from what is learned, as of incidents, moved users, maintenance and special times"),
		},
		{Detector: "edge-latency", Class: core.ClassSymptom, Since: at, Sentence: old.Sentence, Why: some("the band rests on 8640 values; none was kept from what is learned")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("anomalies (-want +got):\n%s", diff)
	}
	// An alarm can be spoken of, so it has a series; each is one, of however many services it is told.
	alarms := AlarmsIn(o)
	if len(alarms) != 2 || alarms[0].ID != *want[0].ID || alarms[1].ID != *want[1].ID || alarms[1].Sentence != want[1].Sentence {
		t.Errorf("alarms are %+v", alarms)
	}
}
