package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// try makes one probe with a deadline that a busy machine keeps.
func try(t *testing.T, kind, raw string, via Via, options ...Options) Result {
	t.Helper()
	return within(t, 10*time.Second, kind, raw, via, options...)
}

// within makes one probe with the given deadline.
func within(t *testing.T, deadline time.Duration, kind, raw string, via Via, options ...Options) Result {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	q, err := Ask(kind, raw, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	began := time.Now()
	res := Catalogue()[kind](ctx, via, q)
	if took := time.Since(began); took > deadline+5*time.Second {
		t.Errorf("%s took %v with a deadline of %v", raw, took, deadline)
	}
	return res
}

func want(t *testing.T, what string, res Result, state State, reason Reason) {
	t.Helper()
	if res.State != state || res.Reason != reason {
		t.Errorf("%s: %v %q (%s), want %v %q", what, res.State, res.Reason, res.Detail, state, reason)
	}
	if (res.State == Up) != (res.Reason == ReasonNone) || (res.State == Up) != (res.Detail == "") {
		t.Errorf("%s: state %v with reason %q and detail %q", what, res.State, res.Reason, res.Detail)
	}
}

// serve runs handle on each connection to a fresh listener and returns its address.
func serve(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

func readRequest(conn *net.TCPConn) { _, _ = conn.Read(make([]byte, 4096)) }

func TestHTTPAnswers(t *testing.T) {
	f := func(what, answer string, state State, reason Reason) {
		t.Helper()
		address := serve(t, func(conn *net.TCPConn) {
			readRequest(conn)
			_, _ = conn.Write([]byte(answer))
		})
		want(t, what, try(t, "http", "http://"+address+"/x", Via{}), state, reason)
	}
	f("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Up, ReasonNone)
	f("204", "HTTP/1.1 204 No Content\r\n\r\n", Up, ReasonNone)
	f("body to the end of the connection", "HTTP/1.0 200 OK\r\n\r\nok", Up, ReasonNone)
	f("redirect", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", Up, ReasonNone)
	f("early hints first", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Up, ReasonNone)
	f("only early hints", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9), Down, ReasonBody)
	f("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Down, ReasonStatus)
	f("503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Down, ReasonStatus)
	f("101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Down, ReasonStatus)
	f("body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", Down, ReasonBody)
	f("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", Down, ReasonBody)
	f("head cut short", "HTTP/1.1 200 OK\r\nConte", Down, ReasonBody)
	f("closed without a byte", "", Down, ReasonRefused)
}

func TestAResetBeforeTheFirstByteIsRefused(t *testing.T) {
	reset := func(conn *net.TCPConn) { _ = conn.SetLinger(0) }
	f := func(what, scheme string, handle func(*net.TCPConn), reason Reason) {
		t.Helper()
		want(t, what, try(t, "http", scheme+"://"+serve(t, handle)+"/", Via{}), Down, reason)
	}
	f("reset at once", "http", reset, ReasonRefused)
	f("reset after the request", "http", func(c *net.TCPConn) { readRequest(c); reset(c) }, ReasonRefused)
	f("reset in the handshake", "https", func(c *net.TCPConn) { readRequest(c); reset(c) }, ReasonRefused)
}

func TestTimeouts(t *testing.T) {
	hang := func(conn *net.TCPConn) { readRequest(conn); _, _ = io.Copy(io.Discard, conn) }
	f := func(what, raw string) {
		t.Helper()
		want(t, what, within(t, 250*time.Millisecond, "http", raw, Via{}), Down, ReasonTimeout)
	}
	f("no answer", "http://"+serve(t, hang)+"/")
	f("no handshake", "https://"+serve(t, hang)+"/")
	f("no body", "http://"+serve(t, func(conn *net.TCPConn) {
		readRequest(conn)
		_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
		_, _ = io.Copy(io.Discard, conn)
	})+"/")
	want(t, "open port", try(t, "tcp", "tcp://"+serve(t, hang), Via{}), Up, ReasonNone)
}

func TestClosedPortsAreRefused(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "http", try(t, "http", "http://"+address+"/", Via{}), Down, ReasonRefused)
	want(t, "tcp", try(t, "tcp", "tcp://"+address, Via{}), Down, ReasonRefused)
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || !r.Close {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the point
	server.StartTLS()
	defer server.Close()
	want(t, "unknown root", try(t, "http", server.URL, Via{}), Down, ReasonTLS)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := Via{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	res := try(t, "http", server.URL, trusting)
	want(t, "known root", res, Up, ReasonNone)
	if res.Phases.TLS == 0 || res.Phases.FirstByte == 0 || res.Remote == "" || res.Status != 200 {
		t.Errorf("phases are missing: %+v", res)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	want(t, "no TLS there", try(t, "http", strings.Replace(plain.URL, "http:", "https:", 1), Via{}), Down, ReasonTLS)

	// An override changes where we dial, not whom we expect: the certificate is checked for the URL's name.
	address := strings.TrimPrefix(server.URL, "https://")
	trusting.Overrides = Overrides{"example.com:443": address, "wrong.invalid:443": address}
	want(t, "override", try(t, "http", "https://EXAMPLE.com/", trusting), Up, ReasonNone)
	want(t, "override, wrong name", try(t, "http", "https://wrong.invalid/", trusting), Down, ReasonTLS)
}

func TestClassify(t *testing.T) {
	f := func(err error, at phase, read int64, state State, reason Reason) {
		t.Helper()
		if s, r := classify(err, at, read); s != state || r != reason {
			t.Errorf("%v in phase %d after %d bytes: %v %q, want %v %q", err, at, read, s, r, state, reason)
		}
	}
	sys := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)}
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.EPERM} {
		f(sys(errno), phaseDial, 0, Unknown, ReasonOurs)
	}
	f(context.Canceled, phaseAnswer, 0, Unknown, ReasonOurs)
	f(sys(syscall.EHOSTUNREACH), phaseDial, 0, Down, ReasonConnect)
	f(sys(syscall.ENETUNREACH), phaseDial, 0, Down, ReasonConnect)
	f(sys(syscall.ECONNREFUSED), phaseDial, 0, Down, ReasonRefused)
	f(sys(syscall.ETIMEDOUT), phaseDial, 0, Down, ReasonTimeout)
	f(sys(syscall.ECONNRESET), phaseAnswer, 0, Down, ReasonRefused)
	f(sys(syscall.ECONNRESET), phaseBody, 1, Down, ReasonBody)
	f(sys(syscall.ECONNRESET), phaseTLS, 7, Down, ReasonTLS)
	f(&net.DNSError{Err: "no such host", IsNotFound: true}, phaseDial, 0, Down, ReasonDNS)
	f(&net.DNSError{Err: "i/o timeout", IsTimeout: true}, phaseDial, 0, Down, ReasonDNS)
	f(&net.DNSError{Err: "server misbehaving"}, phaseDial, 0, Down, ReasonDNS)
	f(&net.DNSError{Err: "read udp 127.0.0.1:1->127.0.0.1:53: read: connection refused"}, phaseDial, 0, Unknown, ReasonOurs)
	f(errors.New("odd"), phaseTLS, 0, Down, ReasonTLS)
}

func TestBeingStoppedIsNotALateAnswer(t *testing.T) {
	address := serve(t, func(conn *net.TCPConn) { readRequest(conn); _, _ = io.Copy(io.Discard, conn) })
	q, err := Ask("http", "http://"+address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	time.AfterFunc(50*time.Millisecond, cancel)
	res := HTTP(ctx, Via{}, q)
	want(t, "stopped", res, Unknown, ReasonOurs)
}

func TestDNSOfARealResolver(t *testing.T) {
	// .invalid never exists (RFC 6761). Without a resolver in reach the answer must be our own fault.
	res := try(t, "http", "http://evenkeel.invalid/", Via{})
	if res.Reason != ReasonDNS && res.Reason != ReasonOurs {
		t.Errorf("a name that does not exist: %v %q (%s)", res.State, res.Reason, res.Detail)
	}
}

func TestParseOverrides(t *testing.T) {
	if _, err := ParseOverrides("a:1=b:1,"); err == nil {
		t.Error("an empty part was taken")
	}
	got, err := ParseOverrides(" FRA.example.net:443 = 10.0.0.7:8443 ,[::1]:80=[::2]:81")
	if err != nil {
		t.Fatal(err)
	}
	if s := got.String(); s != "[::1]:80=[::2]:81,fra.example.net:443=10.0.0.7:8443" {
		t.Errorf("read back as %s", s)
	}
	f := func(s, want string) {
		t.Helper()
		if _, err := ParseOverrides(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", s, err, want)
		}
	}
	f("a:1", "must be host:port=addr:port")
	f("a=b:1", "left of the equals sign")
	f("a:1=b", "right of the equals sign")
	f("a:0=b:1", "a port is a number")
	f("a:1=b:x", "a port is a number")
	f("a:1=b:1,a:1=c:1", "twice")
	f(":1=b:1", "names no host")
}

func FuzzParseOverrides(f *testing.F) {
	f.Add("a:1=b:2,c:3=[::1]:4")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseOverrides(s)
		if err != nil {
			return
		}
		again, err := ParseOverrides(got.String())
		if err != nil || again.String() != got.String() {
			t.Fatalf("%q is read as %q, which is read as %v, %v", s, got, again, err)
		}
	})
}
