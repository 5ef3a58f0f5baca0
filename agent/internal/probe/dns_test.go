package probe

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolver serves DNS over UDP and TCP on one port.
func resolver(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: listener, Handler: handle}, {PacketConn: packets, Handler: handle}} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return listener.Addr().String()
}

// zone answers by name: a record, a status by its name, "silent", or "long" (cut over UDP).
func zone(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	name := r.Question[0].Name
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	udp := w.LocalAddr().Network() == "udp"
	add := func(text string) {
		if rr, err := dns.NewRR(name + " 60 IN " + text); err == nil {
			m.Answer = append(m.Answer, rr)
		}
	}
	switch first {
	case "silent":
		return
	case "garbage":
		raw, _ := m.Pack()
		_, _ = w.Write(raw[:7])
		return
	case "other":
		stray := new(dns.Msg).SetReply(r)
		stray.Id++
		_ = w.WriteMsg(stray)
		stray.Id, stray.Question[0].Name = r.Id, "stranger.example.net."
		_ = w.WriteMsg(stray)
		add("A 192.0.2.1")
		m.Question = []dns.Question{{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}}
	case "long":
		m.Truncated = udp
		if !udp {
			add("A 192.0.2.9")
		}
	case "www":
		add("A 192.0.2.1")
		add("A 192.0.2.2")
		add("AAAA 2001:db8::1")
	case "alias":
		add("CNAME WWW.example.net.")
	case "text":
		add(`TXT "site=fra" ";ok"`)
	case "mail":
		add("MX 10 mx.example.net.")
	case "empty":
	default:
		rcode, ok := dns.StringToRcode[strings.ToUpper(first)]
		if !ok {
			rcode = dns.RcodeNameError
		}
		m.Rcode = rcode
	}
	_ = w.WriteMsg(m)
}

func TestDNSQuestions(t *testing.T) {
	at := resolver(t, zone)
	f := func(ask string, o Options, state State, reason Reason) {
		t.Helper()
		want(t, ask, try(t, "dns", "dns://"+at+"/"+ask, Via{}, o), state, reason)
	}
	f("www.example.net", Options{}, Up, ReasonNone)
	f("WWW.example.net.?type=A", Options{Answers: []string{"192.0.2.2", "192.0.2.1"}}, Up, ReasonNone)
	f("www.example.net?type=AAAA", Options{Answers: []string{"2001:DB8:0::1"}}, Up, ReasonNone)
	f("www.example.net", Options{Answers: []string{"192.0.2.3"}}, Down, ReasonBody)
	f("alias.example.net?type=CNAME", Options{Answers: []string{"www.example.net"}}, Up, ReasonNone)
	f("alias.example.net?type=A", Options{}, Down, ReasonBody)
	f("text.example.net?type=TXT", Options{Answers: []string{"site=fra;ok"}}, Up, ReasonNone)
	f("mail.example.net?type=MX", Options{Answers: []string{"10 mx.example.net."}}, Up, ReasonNone)
	f("long.example.net", Options{Answers: []string{"192.0.2.9"}}, Up, ReasonNone)
	f("other.example.net", Options{}, Up, ReasonNone)
	f("empty.example.net", Options{}, Down, ReasonBody)
	f("none.example.net", Options{}, Down, ReasonStatus)
	f("none.example.net", Options{Rcode: "NXDOMAIN"}, Up, ReasonNone)
	f("www.example.net", Options{Rcode: "NXDOMAIN"}, Down, ReasonStatus)
	f("servfail.example.net", Options{}, Down, ReasonStatus)
	f("refused.example.net", Options{}, Down, ReasonStatus)
	f("garbage.example.net", Options{}, Down, ReasonBody)

	res := within(t, 250*time.Millisecond, "dns", "dns://"+at+"/silent.example.net", Via{})
	want(t, "silent", res, Down, ReasonTimeout)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := packets.LocalAddr().String()
	_ = packets.Close()
	want(t, "closed port", try(t, "dns", "dns://"+closed+"/www.example.net", Via{}), Down, ReasonRefused)
	if res := try(t, "dns", "dns://"+at+"/www.example.net", Via{}); res.Phases.FirstByte == 0 || res.Remote == "" {
		t.Errorf("phases are missing: %+v", res)
	}
}

// The names of other probes' addresses, resolved by a real resolver.
func TestNamesThatDoNotResolve(t *testing.T) {
	at := resolver(t, zone)
	via := Via{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}}}
	for _, kind := range []string{"http", "tcp", "tls", "grpc"} {
		f := func(name string, state State, reason Reason) {
			t.Helper()
			deadline := 10 * time.Second
			if name == "silent" {
				deadline = 300 * time.Millisecond
			}
			res := within(t, deadline, kind, kind+"://"+name+".example.net:1", via)
			want(t, kind+" "+name, res, state, reason)
			if res.Phases.DNS == 0 || res.Phases.Connect != 0 {
				t.Errorf("%s %s: the time is not that of resolving: %+v", kind, name, res.Phases)
			}
		}
		f("nxdomain", Down, ReasonDNS)
		f("servfail", Down, ReasonDNS)
		f("silent", Down, ReasonDNS)
	}
	gone := Via{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")
	}}}
	want(t, "no resolver of our own", try(t, "tcp", "tcp://www.example.net:1", gone), Unknown, ReasonOurs)
}

// FuzzDNSAnswer reads any bytes as the answer to a question.
func FuzzDNSAnswer(f *testing.F) {
	for _, name := range []string{"www.example.net.", "empty.example.net."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		raw, _ := m.SetReply(m).Pack()
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := Ask("dns", "dns://192.0.2.53/www.example.net", Options{Answers: []string{"192.0.2.1"}})
		if err != nil {
			t.Fatal(err)
		}
		ask := new(dns.Msg).SetQuestion(q.qname, q.qtype)
		m := new(dns.Msg)
		if m.Unpack(raw) != nil {
			return
		}
		if answers(ask, m) && (m.Id != ask.Id || !m.Response) {
			t.Fatal("took the answer to another question")
		}
		if q.lacks(m.Answer) == "" && !strings.Contains(m.String(), "192.0.2.1") {
			t.Fatalf("found what is not there: %s", m)
		}
	})
}

// FuzzHTTPAnswer reads any bytes as the answer of a web server: never up without a status line, never a panic.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: //[\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = there.Read(make([]byte, 4096))
			_, _ = there.Write(raw)
			_ = there.Close()
		}()
		q, err := Ask("http", "http://a/", Options{Redirects: "follow", Body: "ok"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		w := &wire{Conn: here, stop: func() bool { return true }}
		res, next := overPipe(ctx, w, q)
		_ = here.Close()
		_, _ = io.Copy(io.Discard, there)
		<-done
		if res.State == Up && (res.Status < 200 || !strings.Contains(string(raw), "ok")) {
			t.Fatalf("%q is %+v", raw, res)
		}
		if next != nil && next.Hostname() != "a" {
			t.Fatalf("%q leads to %v", raw, next)
		}
	})
}

// overPipe has the conversation of visit over a connection that is there.
func overPipe(ctx context.Context, w *wire, q Question) (Result, *url.URL) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.URL.String(), nil)
	if err != nil {
		return Result{}, nil
	}
	return converse(ctx, w, w, req, q, Result{})
}
