package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestALedgerIsRestoredAndAdopted: a server that starts on a backup commands nothing until a person adopts it; then the
// executor obeys it and nothing older. A server whose ledger is lost takes over its name, and executors obey it as well.
func TestALedgerIsRestoredAndAdopted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	order := func(words ...string) {
		t.Helper()
		must[string](t)(b.Command(t.Context(), append(words, "checkout", "--reason", "drill")...))
	}
	order("drain", "fra")
	b.settled("fra", 0)
	file := filepath.Join(b.dir, "ledger.backup")
	must[string](t)(b.Command(t.Context(), "backup", "--out", file))
	order("restore-site", "fra")
	b.settled("fra", 100)
	order("drain", "lon") // after the backup: the restored ledger knows nothing of it
	b.settled("lon", 0)
	who := must[Status](t)(b.Status(t.Context()))
	old := b.Data + ".old"
	swap := func(to string) {
		t.Helper()
		if err := errors.Join(b.Stop(), os.Rename(b.Data, to)); err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		t.Helper()
		if err := errors.Join(b.Start(), b.AwaitReady(t.Context())); err != nil {
			t.Fatal(err)
		}
	}

	swap(old)
	began := time.Now()
	out, err := exec.CommandContext(t.Context(), b.programs.Server, "restore", file, "--data", b.Data).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("ledger_restore %.2f s", time.Since(began).Seconds())
	token := must[[]byte](t)(os.ReadFile(filepath.Join(old, "admin.token")))
	writeFile(t, filepath.Join(b.Data, "admin.token"), string(token))
	start()
	status := must[Status](t)(b.Status(t.Context()))
	if status.Acting || !strings.Contains(status.Reason, "adopt") || status.Epoch != who.Epoch+1 || status.ClusterID != who.ClusterID {
		t.Errorf("restored: %+v", status)
	}
	calls := len(b.exec.Calls())
	if out, err := b.Command(t.Context(), "restore-site", "fra", "checkout", "--reason", "too soon"); err == nil {
		t.Errorf("an order before the adoption is taken: %s", out)
	}
	must[string](t)(b.Command(t.Context(), "preflight"))
	must[string](t)(b.Command(t.Context(), "adopt", "--reason", "drill", "--yes"))
	if got := len(b.exec.Calls()); got != calls {
		t.Errorf("%d commands before the adoption", got-calls)
	}
	adopted := must[Status](t)(b.Status(t.Context()))
	order("restore-site", "fra") // which the backup has as drained
	b.until(time.Minute, "the executor obeys the adopted ledger", func() error {
		all := b.exec.Calls()
		if last := all[len(all)-1]; len(all) == calls || last.Epoch != adopted.Epoch || last.Status != 200 {
			return fmt.Errorf("%+v", last)
		}
		return nil
	})

	// The incarnation of before comes back and is refused.
	ghost := NewClient(b.Ports.Addr(570), old)
	p := must[*Process](t)(StartProcess(b.programs.Server, "serve", "--config", b.config(), "--data", old, "--listen", b.Ports.Addr(570), "--admin-listen", ""))
	defer p.Kill()
	b.until(time.Minute, "the old server is ready", func() error { return ghost.Ready(t.Context()) })
	if r, err := ghost.Order(t.Context(), map[string]any{"kind": "restore", "reason": "I am the old one", "subject": Subject{Site: "lon", Service: "checkout"}}); err != nil || !r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	b.until(time.Minute, "the old server is refused", func() error {
		all := b.exec.Calls()
		if last := all[len(all)-1]; last.Epoch != who.Epoch || last.Status != 409 {
			return fmt.Errorf("%+v", last)
		}
		return nil
	})
	p.Kill()
	if w := b.exec.Weights()["lon"]; w != 0 {
		t.Errorf("the old server moved lon to %d", w)
	}

	// All is lost: a new ledger takes over the name.
	swap(b.Data + ".lost")
	start()
	out2, err := b.Command(t.Context(), "preflight")
	if ExitCode(err) != 3 || !strings.Contains(out2, who.ClusterID) {
		t.Errorf("a new ledger would be obeyed? %v: %s", err, out2)
	}
	next := strconv.FormatInt(adopted.Epoch+1, 10)
	if !strings.Contains(out2, "--cluster-id "+who.ClusterID+" --epoch "+next) {
		t.Errorf("preflight does not say what to adopt: %s", out2)
	}
	must[string](t)(b.Command(t.Context(), "adopt", "--cluster-id", who.ClusterID, "--epoch", next, "--reason", "all is lost", "--yes"))
	must[string](t)(b.Command(t.Context(), "preflight"))
}
