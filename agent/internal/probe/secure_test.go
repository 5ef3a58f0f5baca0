package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for one test.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "root of a test"}, NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, &a.key.PublicKey)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	if parent == nil {
		parent = template
	}
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore = time.Now().Add(-365 * 24 * time.Hour)
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// pair is a certificate for the name that ends at the time; it signs itself when self is true.
func (a *authority) pair(name string, end time.Time, self bool) tls.Certificate {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: end}
	if self {
		own := &authority{t: a.t, key: newKey(a.t)}
		return tls.Certificate{Certificate: [][]byte{own.sign(template, nil, &own.key.PublicKey).Raw}, PrivateKey: own.key}
	}
	key := newKey(a.t)
	return tls.Certificate{Certificate: [][]byte{a.sign(template, a.cert, &key.PublicKey).Raw, a.cert.Raw}, PrivateKey: key}
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// listen serves handshakes, and nothing after them.
func (a *authority) listen(pair tls.Certificate, protocols ...string) string {
	a.t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: protocols, MinVersion: tls.VersionTLS12}
	return serve(a.t, func(conn *net.TCPConn) { _ = tls.Server(conn, config).Handshake() })
}

func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	f := func(what string, pair tls.Certificate, o Options, state State, left time.Duration, detail string) {
		t.Helper()
		if o.TLSName == "" {
			o.TLSName = "db.example.net"
		}
		res := try(t, "tls", "tls://"+a.listen(pair, "postgresql"), Via{}, o)
		reason := ReasonTLS
		if state == Up {
			reason = ReasonNone
		}
		want(t, what, res, state, reason)
		if !strings.Contains(res.Detail, detail) {
			t.Errorf("%s: %q, want %q in it", what, res.Detail, detail)
		}
		if end := now.Add(left); res.Expires.IsZero() || res.Expires.Sub(end).Abs() > time.Minute {
			t.Errorf("%s: ends at %v, want %v", what, res.Expires, end)
		}
		if res.Phases.TLS == 0 || res.Phases.Connect == 0 {
			t.Errorf("%s: phases are missing: %+v", what, res.Phases)
		}
	}
	trust := Options{CA: a.pem()}
	day := 24 * time.Hour
	f("good", a.pair("db.example.net", now.Add(90*day), false), trust, Up, 90*day, "")
	f("near its end", a.pair("db.example.net", now.Add(2*day), false), trust, Up, 2*day, "")
	f("expired", a.pair("db.example.net", now.Add(-day), false), trust, Down, -day, "expired")
	f("wrong name", a.pair("other.example.net", now.Add(day), false), trust, Down, day, "db.example.net")
	f("signs itself", a.pair("db.example.net", now.Add(day), true), trust, Down, day, "unknown authority")
	f("not of our roots", a.pair("db.example.net", now.Add(day), false), Options{}, Down, day, "unknown authority")
	f("protocol", a.pair("db.example.net", now.Add(day), false), Options{CA: a.pem(), ALPN: "postgresql"}, Up, day, "")

	res := try(t, "tls", "tls://"+a.listen(a.pair("db.example.net", now.Add(day), false)), Via{},
		Options{CA: a.pem(), TLSName: "db.example.net", ALPN: "postgresql"})
	want(t, "no protocol agreed on", res, Down, ReasonTLS)
	want(t, "no TLS there", try(t, "tls", "tls://"+serve(t, func(c *net.TCPConn) {
		readRequest(c)
		_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	}), Via{}), Down, ReasonTLS)
	want(t, "nobody there", try(t, "tls", "tls://"+serve(t, func(*net.TCPConn) {}), Via{}), Down, ReasonRefused)
}

// The chain that ends last counts; what is shown besides it does no harm.
func TestTheLastWayToARoot(t *testing.T) {
	at := func(days int) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Unix(0, 0).Add(time.Duration(days) * 24 * time.Hour)}
	}
	got := lastWay([][]*x509.Certificate{{at(90), at(-1)}, {at(90), at(30), at(300)}, {at(20)}})
	if want := at(30).NotAfter; !got.Equal(want) {
		t.Errorf("ends at %v, want %v", got, want)
	}
	if !lastWay(nil).IsZero() || !firstEnd(nil).IsZero() {
		t.Error("no certificate has an end")
	}
}

func TestExpectations(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/{code}", func(w http.ResponseWriter, r *http.Request) {
		code := map[string]int{"/ok": 200, "/sign-in": 401, "/moved": 302, "/loop": 302, "/away": 301}[r.URL.Path]
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "/ok")
		case "/loop":
			w.Header().Set("Location", "/loop")
		case "/away":
			w.Header().Set("Location", "http://elsewhere.invalid/?token=hunter2")
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(`{"status": "pass", "version": 7}` + strings.Repeat(" ", 70<<10) + "the end"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	f := func(path string, o Options, state State, reason Reason) {
		t.Helper()
		res := try(t, "http-expect", server.URL+path, Via{}, o)
		want(t, path, res, state, reason)
		if strings.Contains(res.Detail, "hunter2") {
			t.Errorf("the address is shown: %s", res.Detail)
		}
	}
	f("/ok", Options{Status: []string{"2xx"}}, Up, ReasonNone)
	f("/ok", Options{Status: []string{"204", "301-399"}}, Down, ReasonStatus)
	f("/sign-in", Options{Status: []string{"200", "401"}}, Up, ReasonNone)
	f("/sign-in", Options{}, Down, ReasonStatus)
	f("/ok", Options{Body: `"status": "pass"`}, Up, ReasonNone)
	f("/ok", Options{Body: "fail"}, Down, ReasonBody)
	f("/ok", Options{Body: "the end"}, Down, ReasonBody) // beyond what is read
	f("/ok", Options{BodyRegexp: `"version": [1-9]`}, Up, ReasonNone)
	f("/ok", Options{BodyRegexp: `"version": [89]`}, Down, ReasonBody)
	f("/moved", Options{}, Up, ReasonNone)
	f("/moved", Options{Redirects: "refuse"}, Down, ReasonStatus)
	f("/moved", Options{Redirects: "follow", Status: []string{"200"}, Body: "pass"}, Up, ReasonNone)
	f("/moved", Options{Status: []string{"200"}}, Down, ReasonStatus)
	f("/loop", Options{Redirects: "follow"}, Down, ReasonStatus)
	f("/away", Options{Redirects: "follow"}, Down, ReasonStatus)
	f("/away", Options{}, Up, ReasonNone)
}
