package ledger

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
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

// Whoever knocks at the peer address does not fill the log.
func TestAStrangerDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := newZap(slog.New(slog.NewTextHandler(&said, nil)))
		for range 120 {
			log.With(zap.String("remote-addr", "10.0.0.9:1")).Warn(refusedConnection)
			time.Sleep(time.Second)
		}
		if n := strings.Count(said.String(), refusedConnection); n != 2 || !strings.Contains(said.String(), "more_since_the_last=59") {
			t.Errorf("said %d times: %s", n, said.String())
		}
	})
}
