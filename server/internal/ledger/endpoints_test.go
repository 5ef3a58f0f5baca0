package ledger

import (
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// An etcd that somebody else runs serves as well: the same leadership, orders and records, over a real connection.
func TestAnEtcdOfSomebodyElse(t *testing.T) {
	t.Parallel()
	endpoint := "http://" + freePeer(t)[len("https://"):]
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := common(filepath.Join(t.TempDir(), "etcd"), 0, slogDiscard())
	c.Name = "theirs"
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	c.InitialCluster = c.Name + "=" + peer.String()
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := awaitEtcd(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	k := &crew{t: t, dirs: map[string]string{}, peers: map[string]string{}, up: map[string]*Ledger{}}
	for _, name := range []string{"r1", "r2", "r3"} {
		k.dirs[name] = filepath.Join(t.TempDir(), "ledger")
		l := k.open(name, func(r *Replicas) { r.Peer, r.Endpoints = "", []string{endpoint} })
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	name, l, _ := k.writes(line("one"), core.Change{Intent: &core.Intent{ID: "act_1", ActionID: "act"}})
	for other, o := range k.up {
		k.until(time.Minute, other+" reads", func() bool {
			lines, err := o.Lines(t.Context(), 0, 0)
			return err == nil && told(lines) == "one" && o.Leadership().Leader != ""
		})
	}
	_, err = l.AddReplica(t.Context(), "r4", "https://127.0.0.1:1", false)
	wantCode(t, err, core.CodeConflict)
	// The one that leads closes: another leads at once.
	delete(k.up, name)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	k.writes(line("two"))
	for _, o := range k.up {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}
