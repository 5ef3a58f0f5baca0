package main

import (
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/evenkeel/evenkeel/agent/controlextension"
	"github.com/evenkeel/evenkeel/agent/fastexporter"
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
}

// With notes who speaks.
func (q quiet) With(fields []zapcore.Field) zapcore.Core {
	return quiet{Core: q.Core.With(fields), foreign: q.foreign || foreign(fields)}
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
	return q.Core.Write(entry, fields)
}

// foreign reports whether the fields name a component, and it is not one of ours. The Collector packs them into
// one inline field, so they are laid out first.
func foreign(fields []zapcore.Field) bool {
	flat := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		if f.Type == zapcore.InlineMarshalerType || f.Key == componentKey || f.Key == kindKey {
			f.AddTo(flat)
		}
	}
	if _, ok := flat.Fields[kindKey]; !ok {
		return false
	}
	id, _ := flat.Fields[componentKey].(string)
	kind, _, _ := strings.Cut(id, "/")
	switch kind {
	case controlextension.TypeName, fastexporter.TypeName, selfreceiver.TypeName, siteprobereceiver.TypeName,
		seriescapprocessor.TypeName:
		return false
	}
	return true
}
