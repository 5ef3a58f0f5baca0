package knob

import (
	"path/filepath"
	"testing"
)

func TestKnob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.json")
	if got, err := Read[Shop](path); err != nil || got != (Shop{}) {
		t.Fatalf("untouched: %+v, %v", got, err)
	}
	want := Shop{SlowSeconds: 0.8, Errors: 0.3}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := Read[Shop](path); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
}
