package store

import (
	"context"
	"log/slog"
	"strings"
)

// logWriter turns VictoriaMetrics' lines (level, caller and text between tabs) into records of our log. Its
// chatter becomes debug. On a fatal line the process ends right after Write.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	level, rest, _ := strings.Cut(strings.TrimRight(string(p), "\n"), "\t")
	caller, text, _ := strings.Cut(rest, "\t")
	at := slog.LevelError
	switch level {
	case "info":
		at = slog.LevelDebug
	case "warn":
		at = slog.LevelWarn
	}
	w.log.LogAttrs(context.Background(), at, "victoriametrics says",
		slog.String("text", text), slog.String("caller", caller))
	return len(p), nil
}
