package main

import (
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/evenkeel/evenkeel/agent/changesextension"
	"github.com/evenkeel/evenkeel/agent/controlextension"
	"github.com/evenkeel/evenkeel/agent/fastexporter"
	"github.com/evenkeel/evenkeel/agent/saturationreceiver"
	"github.com/evenkeel/evenkeel/agent/selfreceiver"
	"github.com/evenkeel/evenkeel/agent/seriescapprocessor"
	"github.com/evenkeel/evenkeel/agent/siteprobereceiver"
)

// The fields by which the Collector says which component speaks. A component shared by several pipelines has a
// kind and no id.
const (
	componentKey = "otelcol.component.id"
	kindKey      = "otelcol.component.kind"
)

// quiet lets our own components speak at every level and the others from warning on: what the Collector tells
// about its insides at info is of no use to an operator. What names no component passes.
type quiet struct {
	zapcore.Core
	foreign bool
	scraper bool
	said    *repeats // nil: nothing is left out for having been said
}

// With notes who speaks.
func (q quiet) With(fields []zapcore.Field) zapcore.Core {
	return quiet{
		Core: q.Core.With(fields), foreign: q.foreign || foreign(fields), scraper: q.scraper || who(fields) == scraperType,
		said: q.said,
	}
}

// Check drops what is not worth a line. A component may be named in the logger or in the entry itself; the
// latter is seen in Write.
func (q quiet) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !q.Enabled(entry.Level) || q.foreign && entry.Level < zapcore.WarnLevel {
		return checked
	}
	return checked.AddCore(entry, q)
}

// Write drops entries about foreign components ("Extension is starting...").
func (q quiet) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if entry.Level < zapcore.WarnLevel && (foreign(fields) || strings.HasPrefix(entry.Message, "Extension ")) {
		return nil
	}
	if (q.scraper || who(fields) == scraperType) && q.said.lately(entry, fields) {
		return nil
	}
	return q.Core.Write(entry, fields)
}

// foreign reports whether the fields name a component, and it is not one of ours. The Collector packs them into
// one inline field, so they are laid out first.
func foreign(fields []zapcore.Field) bool {
	flat := laidOut(fields)
	if _, ok := flat[kindKey]; !ok {
		return false
	}
	switch typeOf(flat) {
	case controlextension.TypeName, fastexporter.TypeName, selfreceiver.TypeName, siteprobereceiver.TypeName,
		seriescapprocessor.TypeName, changesextension.TypeName, saturationreceiver.TypeName:
		return false
	}
	return true
}

// who is the type of the component that the fields name, empty for none.
func who(fields []zapcore.Field) string { return typeOf(laidOut(fields)) }

func laidOut(fields []zapcore.Field) map[string]any {
	flat := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		if f.Type == zapcore.InlineMarshalerType || f.Key == componentKey || f.Key == kindKey {
			f.AddTo(flat)
		}
	}
	return flat.Fields
}

func typeOf(fields map[string]any) string {
	id, _ := fields[componentKey].(string)
	kind, _, _ := strings.Cut(id, "/")
	return kind
}
