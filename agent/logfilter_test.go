package main

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// packed is how the Collector names a component in a logger.
type packed map[string]string

func (p packed) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for key, value := range p {
		enc.AddString(key, value)
	}
	return nil
}

func TestForeignComponentsSpeakFromWarningOn(t *testing.T) {
	f := func(id, kind string, infoPasses bool) {
		t.Helper()
		core, seen := observer.New(zapcore.InfoLevel)
		fields := packed{kindKey: kind}
		if id != "" {
			fields[componentKey] = id
		}
		log := zap.New(quiet{Core: core}).With(zap.Inline(fields), zap.String("more", "x"))
		log.Info("hello")
		log.Warn("trouble")
		want := 1
		if infoPasses {
			want = 2
		}
		if seen.Len() != want {
			t.Errorf("%q %q: %d lines, want %d", id, kind, seen.Len(), want)
		}
	}
	f("siteprobe", "receiver", true)
	f("evenkeelfast/a.example_8450", "exporter", true)
	f("evenkeelcontrol", "extension", true)
	f("otlp_http/a.example_8450", "exporter", false)
	f("", "processor", false)

	core, seen := observer.New(zapcore.InfoLevel)
	log := zap.New(quiet{Core: core})
	log.Info("Everything is ready.")
	log.Info("Extension is starting...")
	log.Debug("detail")
	log.Info("started", zap.String(componentKey, "file_storage"), zap.String(kindKey, "extension"))
	if seen.Len() != 1 {
		t.Errorf("%d lines of the service itself, want 1", seen.Len())
	}
}

func TestTheScraperDoesNotRepeatItself(t *testing.T) {
	core, seen := observer.New(zapcore.InfoLevel)
	log := zap.New(quiet{Core: core, said: newRepeats()}).
		With(zap.Inline(packed{kindKey: "receiver", componentKey: "prometheus"}))
	other := zap.New(quiet{Core: core, said: newRepeats()}).
		With(zap.Inline(packed{kindKey: "exporter", componentKey: "otlp_http/a"}))
	for i := range int64(5) {
		for _, target := range []string{"a", "b"} {
			log.Warn("Failed to scrape", zap.Int64("scrape_timestamp", i), zap.String("target", target))
		}
		other.Warn("Exporting failed")
	}
	if n := seen.FilterMessage("Failed to scrape").Len(); n != 2 {
		t.Errorf("%d lines about two targets, want 2", n)
	}
	if n := seen.FilterMessage("Exporting failed").Len(); n != 5 {
		t.Errorf("%d lines of another component, want 5", n)
	}
}
