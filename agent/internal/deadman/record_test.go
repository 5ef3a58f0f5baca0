package deadman

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheRecordSurvivesOnDisk(t *testing.T) {
	dir := t.TempDir()
	if r, err := Load(dir); r != nil || err != nil {
		t.Fatalf("an empty directory: %v %v", r, err)
	}
	w := newWorld(t, "a")
	w.run(3 * time.Minute)
	if err := Keep(dir, w.sw.Record()); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(dir); err != nil || len(r) != 1 || !maps.Equal(r, w.sw.Record()) {
		t.Errorf("kept %v, read %v, %v", w.sw.Record(), r, err)
	}
	for range 2 {
		if err := Keep(dir, nil); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
	if err := Keep(filepath.Join(dir, "missing"), w.sw.Record()); err == nil {
		t.Error("a record was kept nowhere")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"no-server":{"key":"k","since":"2026-11-26T10:00:00Z","open":true}}`))
	f.Add([]byte(`{"no-server":{"open":true}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parse(raw)
		if err != nil {
			return
		}
		w := newWorld(t, "a")
		w.restart(r)
		w.set(Answered, "a")
		w.run(time.Minute)
		if len(w.sw.Record()) != 0 {
			t.Errorf("not forgotten after a minute of answers: %v", w.sw.Record())
		}
	})
}

func TestTheKeyFile(t *testing.T) {
	const key = "0123456789abcdef0123456789ABCDEF"
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "pd.key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(path, want string) {
		t.Helper()
		_, err := ReadKey(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), key) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	f("/no/such/file", "does not exist; put the 32-character integration key")
	f(key, "give the path of a file")
	f(t.TempDir(), "cannot be read")
	f(write(""), "0 characters, want 32")
	f(write(key+key), "64 characters, want 32")
	f(write(strings.Repeat("-", 32)), "no letter or digit")
	got, err := ReadKey(write(" " + key + "\n"))
	if err != nil || strings.Contains(fmt.Sprintf("%v %+v %q", got, got, got), key) {
		t.Errorf("a good file: %v", err)
	}
}
