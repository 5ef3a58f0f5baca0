package detect

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The disk is not for the watches alone, and what they keep has an end.
func TestTheKeeperLeavesRoom(t *testing.T) {
	var log bytes.Buffer
	f := func(want string, limit, free int64) {
		t.Helper()
		log.Reset()
		m, err := newMetrics(prometheus.NewRegistry(), []Watch{{Name: "one"}})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		k := newKeeper(dir, slog.New(slog.NewTextHandler(&log, nil)), m)
		k.limit, k.free = limit, func(string) (int64, error) { return free, nil }
		stop := k.start(t.Context())
		for range 2 { // two passes, told once
			p := &pass{watch: "one"}
			k.queue <- piece{pass: p, data: append(<-k.room, make([]byte, 900)...)}
			k.queue <- piece{pass: p, data: append(<-k.room, make([]byte, 900)...), last: true}
		}
		for range pieces {
			<-k.room
		}
		stop()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if (len(files) == 1) != (want == "") || len(files) > 1 {
			t.Errorf("limit %d, free %d: files %v", limit, free, files)
		}
		if n := strings.Count(log.String(), "cannot be saved"); (n == 1) != (want != "") || !strings.Contains(log.String(), want) {
			t.Errorf("limit %d, free %d: %s, want once %q", limit, free, log.String(), want)
		}
	}
	f("", 1<<20, 1<<40)
	f("takes more than", 1000, 1<<40)
	f("left to others", 1<<20, leastFree+100)
}

// A watch that gives a pass up leaves nothing open.
func TestAPassThatIsGivenUpIsRemoved(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), []Watch{{Name: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t.TempDir(), slog.New(slog.DiscardHandler), m)
	stop := k.start(t.Context())
	k.queue <- piece{pass: &pass{watch: "one"}, data: append(<-k.room, "lost"...)}
	k.queue <- piece{pass: &pass{watch: "one"}, data: append(<-k.room, "kept"...), last: true}
	k.queue <- piece{pass: &pass{watch: "one"}, data: append(<-k.room, "cut off"...)}
	for range pieces {
		<-k.room
	}
	stop()
	files, err := os.ReadDir(k.dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if b, err := os.ReadFile(statePath(k.dir, "one")); err != nil || !bytes.HasPrefix(b, []byte("kept")) || len(b) != 4+32 {
		t.Errorf("%q, %v", b, err)
	}
}

// Who adds something that is learned decides whether it outlasts a restart: memory.go saves it, or this list says that it need not.
func TestNothingLearnedIsForgotten(t *testing.T) {
	f := func(of any, saved, not string) {
		t.Helper()
		var fields []string
		for field := range reflect.TypeOf(of).Fields() {
			fields = append(fields, field.Name)
		}
		known := strings.Fields(saved + " " + not)
		slices.Sort(fields)
		slices.Sort(known)
		if !slices.Equal(fields, known) {
			t.Errorf("%T has %v, want %v", of, fields, known)
		}
	}
	f(series{}, "labels lastAt verdict unknown note gone missed absent excused cadence still back contributors past",
		"key written special subject known name ours band banded slow told")
	f(past{}, "kept changed changedAt", "learns special")
	f(kept[learner]{}, "model aside on back apart since seen out", "fresh")
	f(changed{}, "change model stray strayed old new", "")
	f(row{}, "peers whole burn places names of series heard paces at", "watch values wrong")
	f(cadence{}, "Value At Fresh Apart Changed Gaps N Next", "")
}
