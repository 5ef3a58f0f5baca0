package ledger

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// certificates of an operator's own authority for one replica.
func givenTLS(t *testing.T, a *authority, name, peer string) TLSFiles {
	t.Helper()
	u, err := peerURL(peer)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.sign(name, u, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := TLSFiles{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	for path, text := range map[string][]byte{f.CA: a.pem, f.Cert: cert, f.Key: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestCertificatesOfTheOperator(t *testing.T) {
	t.Parallel()
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := newCrew(t, 0)
	for _, name := range []string{"r1", "r2"} {
		c.dirs[name], c.peers[name] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	}
	tlsOf := func(name string) func(*Replicas) {
		files := givenTLS(t, a, name, c.peers[name])
		return func(r *Replicas) { r.TLS = files }
	}
	r1 := c.open("r1", tlsOf("r1"), func(r *Replicas) { r.Bootstrap = true })
	text, err := r1.AddReplica(t.Context(), "r2", c.peers["r2"], false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "PRIVATE KEY") {
		t.Error("the bundle holds a key although the operator gives certificates")
	}
	// Without them r2 says what is missing.
	_, err = Open(t.Context(), c.options("r2", func(r *Replicas) { r.Join = text }))
	wantCode(t, err, core.CodeInvalid)
	c.open("r2", tlsOf("r2"), func(r *Replicas) { r.Join = text })
	c.until(time.Minute, "r2 knows the ledger", func() bool { return c.up["r2"].Identity() == r1.Identity() })

	// Who has no certificate of the authority is not let in.
	strangers := map[string]*tls.Config{"none": {InsecureSkipVerify: true}} //nolint:gosec // the stranger does not care
	other, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := givenTLS(t, other, "r2", c.peers["r2"])
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	strangers["another authority's"] = &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}} //nolint:gosec // as above
	for what, config := range strangers {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
		if members, err := askMember(t.Context(), client, c.peers["r1"]); err == nil {
			t.Errorf("with certificate: %s, the members are told: %v", what, members)
		}
	}
}

func TestCertificatesThatCannotWork(t *testing.T) {
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good := givenTLS(t, a, "r1", "https://127.0.0.1:1")
	other, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign := givenTLS(t, other, "r1", "https://127.0.0.1:1")
	past, err := newAuthority(time.Now().Add(-2 * caLife))
	if err != nil {
		t.Fatal(err)
	}
	f := func(files TLSFiles, ok bool) {
		t.Helper()
		if err := files.check(); ok != (err == nil) {
			t.Errorf("%v", err)
		} else if err != nil {
			wantCode(t, err, core.CodeInvalid)
		}
	}
	f(good, true)
	f(TLSFiles{CA: good.CA}, false)
	f(TLSFiles{CA: good.CA, Cert: good.Cert, Key: foreign.Key}, false)
	f(TLSFiles{CA: foreign.CA, Cert: good.Cert, Key: good.Key}, false)
	f(TLSFiles{CA: good.Key, Cert: good.Cert, Key: good.Key}, false)
	f(TLSFiles{CA: "/nowhere", Cert: good.Cert, Key: good.Key}, false)
	f(givenTLS(t, past, "r1", "https://127.0.0.1:1"), false)
}

// A certificate of ours is signed anew when it is for another place, another name or runs out.
func TestOurCertificatesAreRenewed(t *testing.T) {
	dir := t.TempDir()
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := installAuthority(dir, a); err != nil {
		t.Fatal(err)
	}
	last := ""
	f := func(name, peer string, at time.Time, renewed bool) {
		t.Helper()
		u, err := peerURL(peer)
		if err != nil {
			t.Fatal(err)
		}
		if err := renewPeer(dir, a, name, u, at); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(ownTLS(dir).Cert)
		if err != nil {
			t.Fatal(err)
		}
		if (string(text) != last) != renewed {
			t.Errorf("%s at %s, %s: renewed %t", name, peer, at, string(text) != last)
		}
		last = string(text)
	}
	now := time.Now()
	f("r1", "https://127.0.0.1:1", now, true)
	f("r1", "https://127.0.0.1:2", now, false)
	f("r1", "https://r1.example.net:2", now, true)
	f("r2", "https://r1.example.net:2", now, true)
	f("r2", "https://r1.example.net:2", now.Add(peerLife/2), false)
	f("r2", "https://r1.example.net:2", now.Add(peerLife-peerLife/4), true)
}

func TestBundlesThatCannotWork(t *testing.T) {
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.keyPEM()
	if err != nil {
		t.Fatal(err)
	}
	f := func(change func(*bundle), ok bool) {
		t.Helper()
		b := bundle{
			Format: bundleFormat, Cluster: "c_1", Name: "r2", Peer: "https://127.0.0.1:2",
			Members: map[string]string{"r1": "https://127.0.0.1:1", "r2": "https://127.0.0.1:2"}, CA: string(a.pem), CAKey: string(key),
		}
		change(&b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parseBundle(text); ok != (err == nil) {
			t.Errorf("%+v: %v", b, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("the error shows a key: %v", err)
		}
	}
	f(func(*bundle) {}, true)
	f(func(b *bundle) { b.CA, b.CAKey = "", "" }, true)
	f(func(b *bundle) { b.Format = 2 }, false)
	f(func(b *bundle) { b.Name = "r3" }, false)
	f(func(b *bundle) { b.Cluster = "" }, false)
	f(func(b *bundle) { b.CAKey = "" }, false)
	f(func(b *bundle) { b.CAKey = b.CA }, false)
	f(func(b *bundle) { b.Members["r1"] = "http://127.0.0.1:1" }, false)
	f(func(b *bundle) { delete(b.Members, "r1") }, false)
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"format":1,"cluster_id":"c","name":"r2","peer":"https://a:1","members":{"r1":"https://b:1","r2":"https://a:1"}}`))
	f.Add([]byte(`{"format":1,"ca_pem":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if b, err := parseBundle(text); err == nil && (b.Name == "" || b.Members[b.Name] != b.Peer) {
			t.Errorf("taken: %+v", b)
		}
	})
}

// A replica that runs for years has its certificate signed anew, and serves with it at once.
func TestACertificateIsRenewedWhileItServes(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 1)
	l := c.up["r1"]
	a, err := loadAuthority(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := peerURL(c.peers["r1"])
	if err != nil {
		t.Fatal(err)
	}
	served := func() time.Time {
		pair, err := tls.LoadX509KeyPair(ownTLS(l.dir).Cert, ownTLS(l.dir).Key)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", peer.Host, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}) //nolint:gosec // it is looked at
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].NotAfter
	}
	old, key, err := a.sign("r1", peer, time.Now().Add(-peerLife+time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{ownTLS(l.dir).Cert: old, ownTLS(l.dir).Key: key} {
		if err := writeFile(path, string(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := served(); time.Until(got) > 2*time.Hour {
		t.Fatalf("the old certificate is not served: good until %s", got)
	}
	if err := l.renew(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := served(); time.Until(got) < peerLife/2 {
		t.Errorf("the certificate is good until %s", got)
	}
}
