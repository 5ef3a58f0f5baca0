package probe

import (
	"strings"
	"testing"
)

func TestAsk(t *testing.T) {
	ok := func(kind, raw, address string, o Options) {
		t.Helper()
		q, err := Ask(kind, raw, o)
		if err != nil {
			t.Errorf("%s %s: %v", kind, raw, err)
		} else if got := hostPort(q.URL); got != address {
			t.Errorf("%s dials %s, want %s", raw, got, address)
		}
	}
	ok("http", "http://FRA.example.net/healthz", "fra.example.net:80", Options{})
	ok("http", "https://fra.example.net", "fra.example.net:443", Options{})
	ok("http-expect", "https://[2001:db8::1]:8443/", "[2001:db8::1]:8443", Options{Status: []string{"200", "3xx", "401-403"}, BodyRegexp: "(?i)ok", Redirects: "follow"})
	ok("tcp", "tcp://db:5432", "db:5432", Options{})
	ok("tcp", "db:5432", "db:5432", Options{})
	ok("tls", "tls://db:5433", "db:5433", Options{TLSName: "db.internal", ALPN: "postgresql"})
	ok("grpc", "grpcs://a:1/cart.Cart", "a:1", Options{TLSName: "a.internal"})
	ok("dns", "dns://192.0.2.53/www.example.net?type=aaaa", "192.0.2.53:53", Options{Answers: []string{"2001:DB8::1"}, Rcode: "noerror"})

	bad := func(kind, raw, want string, o Options) {
		t.Helper()
		if _, err := Ask(kind, raw, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: %v, want %q in it", kind, raw, err, want)
		}
	}
	bad("icmp", "http://a", "not one of dns, grpc, http, http-expect, tcp, tls", Options{})
	bad("http", "ftp://a", "must start with http://", Options{})
	bad("http", "a:80", "must start with", Options{})
	bad("http", "http://", "names no host", Options{})
	bad("http", "http://a:0", "a port is a number", Options{})
	bad("http", "http://a\x7f", "no URL", Options{})
	bad("tcp", "tcp://db", "names no port", Options{})
	bad("tcp", "http://db:1", "must be tcp://host:port", Options{})
	bad("tls", "tls://db", "names no port", Options{})
	bad("grpc", "http://db:1", "must be grpc://", Options{})
	bad("dns", "dns://a", "asks for no name", Options{})
	bad("dns", "dns://a/"+strings.Repeat("x", 64)+".net", "asks for no name", Options{})
	bad("dns", "dns://a/b?type=ANY", "no type of DNS record", Options{})
	bad("dns", "dns://a/b?class=CH", "knows ?type=A only", Options{})
	bad("dns", "dns://a/b", "NXDOMAIN", Options{Rcode: "NOPE"})
	bad("dns", "dns://a/b", "empty entry", Options{Answers: []string{""}})
	bad("http", "http://a", "100 to 599", Options{Status: []string{"2x"}})
	bad("http", "http://a", "100 to 599", Options{Status: []string{"600"}})
	bad("http", "http://a", "100 to 599", Options{Status: []string{"299-200"}})
	bad("http", "http://a", "body_regexp", Options{BodyRegexp: "("})
	bad("http", "http://a", "not answer, follow or refuse", Options{Redirects: "yes"})
	bad("https", "https://a", "kind", Options{})
	bad("http", "http://a", "tls_name is for", Options{TLSName: "b"})
	bad("http", "http://a", "rcode is for", Options{Rcode: "NOERROR"})
	bad("tcp", "tcp://a:1", "body is for", Options{Body: "ok"})
	bad("grpc", "grpcs://a:1", "alpn is for", Options{ALPN: "h2"})
	bad("tls", "tls://a:1", "no certificate", Options{CA: "-----BEGIN CERTIFICATE-----"})
}

func FuzzAsk(f *testing.F) {
	for _, seed := range []string{
		"http://a/b", "https://[::1]:1", "tcp://a:1", "tls://a:1", "dns://a/b?type=MX", "grpcs://a:1/s", "dns://%41/..",
	} {
		f.Add(seed, "2xx", "a+", "1.2.3.4", "NXDOMAIN")
	}
	f.Fuzz(func(t *testing.T, raw, status, pattern, answer, rcode string) {
		kind, known := KindOf(raw)
		if !known {
			return
		}
		var o Options
		switch kind {
		case "http":
			o.Status, o.BodyRegexp = []string{status}, pattern
		case "dns":
			o.Answers, o.Rcode = []string{answer}, rcode
		}
		q, err := Ask(kind, raw, o)
		if err != nil {
			return
		}
		if q.URL.Hostname() == "" || (kind == "dns") != (q.qname != "") || len(q.status) != len(o.Status) {
			t.Fatalf("a question that cannot be asked: %+v", q)
		}
		for code := range 700 {
			if q.accepts(code) && (code < 100 || code > 599) {
				t.Fatalf("%q accepts %d", status, code)
			}
		}
	})
}
