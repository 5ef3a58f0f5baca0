package ledger

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// Before etcd takes the process down it is said what to do. An older directory cannot be told before.
func TestARemedyForAnOldDirectory(t *testing.T) {
	var said bytes.Buffer
	log := newZap(slog.New(slog.NewTextHandler(&said, nil)))
	func() {
		defer func() { _ = recover() }()
		log.Panic("tocommit(254) is out of range [lastIndex(174)]. Was the raft log corrupted, truncated, or lost?")
	}()
	log.Warn("something else")
	if n := strings.Count(said.String(), "replica replace"); n != 1 {
		t.Errorf("the remedy is said %d times: %s", n, said.String())
	}
}
