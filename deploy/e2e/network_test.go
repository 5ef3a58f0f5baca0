package e2e

import (
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func newNetwork(t *testing.T, places ...string) *Network {
	t.Helper()
	n := must[*Network](t)(NewNetwork(places...))
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestNetwork: links carry, are cut one direction at a time, and heal; a dead run's namespaces are removed.
func TestNetwork(t *testing.T) {
	asRoot(t)
	n := newNetwork(t, "fra", "ams", "waw")
	// Datagrams show directions apart: a connection needs both.
	listen := func(place string) net.PacketConn {
		var c net.PacketConn
		if err := n.spaces[place].do(func() (err error) {
			c, err = net.ListenPacket("udp4", n.IP(place)+":99")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	conns := map[string]net.PacketConn{"fra": listen("fra"), "ams": listen("ams"), "waw": listen("waw")}
	carries := func(from, to string, want bool) {
		t.Helper()
		text := from + time.Now().String()
		addr := &net.UDPAddr{IP: net.ParseIP(n.IP(to)), Port: 99}
		if _, err := conns[from].WriteTo([]byte(text), addr); err != nil {
			t.Fatal(err)
		}
		patience := 5 * time.Second
		if !want {
			patience = 200 * time.Millisecond
		}
		if err := conns[to].SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		m, _, err := conns[to].ReadFrom(buf)
		if got := err == nil && string(buf[:m]) == text; got != want {
			t.Errorf("%s > %s carries: %v, want %v (%v)", from, to, got, want, err)
		}
	}
	all := func(want map[string]bool) {
		t.Helper()
		for _, from := range n.places {
			for _, to := range n.places {
				if from != to {
					carries(from, to, !want[from+to])
				}
			}
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all(nil)
	do(n.Cut("fra", "ams"))
	all(map[string]bool{"fraams": true})
	do(n.CutBoth("fra", "ams"))
	all(map[string]bool{"fraams": true, "amsfra": true})
	do(n.Heal())
	do(n.Isolate("waw"))
	all(map[string]bool{"frawaw": true, "wawfra": true, "amswaw": true, "wawams": true})
	do(n.Heal())
	all(nil)

	// A program runs there, and a request from elsewhere reaches it under its own address.
	shop := must[*Shop](t)(OpenShop(n, "ams"))
	client := &http.Client{Transport: &http.Transport{DialContext: n.Dial("fra"), DisableKeepAlives: true}, Timeout: 2 * time.Second}
	resp := must[*http.Response](t)(client.Get(shop.URL))
	body := must[[]byte](t)(io.ReadAll(resp.Body))
	_ = resp.Body.Close()
	if string(body) != "sold at ams to fra" {
		t.Errorf("got %q", body)
	}
	shop.Close()
	out := must[string](t)(n.Run(t.Context(), "waw", "ip", "-4", "-o", "addr", "show", "eth0"))
	if !strings.Contains(out, n.IP("waw")) {
		t.Errorf("at waw: %s", out)
	}
	p := must[*Process](t)(n.Start("waw", "sleep", "60"))
	pids := must[[]byte](t)(exec.CommandContext(t.Context(), "ip", "netns", "pids", n.prefix+"waw").Output())
	p.Kill()
	if len(strings.Fields(string(pids))) != 1 {
		t.Errorf("processes at waw: %q", pids)
	}

	// What another run has left goes, what a living one has stays.
	dead := spacePrefix + "1.1-x-fra"
	do(ip("netns", "add", dead))
	do(removeStale())
	names := must[[]byte](t)(exec.CommandContext(t.Context(), "ip", "netns", "list").Output())
	if strings.Contains(string(names), dead) || !strings.Contains(string(names), n.prefix+"fra") {
		t.Errorf("namespaces after the clearing: %s", names)
	}
}

// TestRelayDelaysOneWay: what a relay carries is late by what its direction is given, in both directions apart.
func TestRelayDelaysOneWay(t *testing.T) {
	asRoot(t)
	n := newNetwork(t, "fra", "ams")
	l := must[net.Listener](t)(n.Listen("ams", "127.0.0.1:90"))
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	r := must[*Relay](t)(StartRelay(n, "ams", ":91", "127.0.0.1:90", func(from, to string) time.Duration {
		return map[string]time.Duration{"fra>ams": 30 * time.Millisecond, "ams>fra": 70 * time.Millisecond}[from+">"+to]
	}))
	defer r.Close()
	c := must[net.Conn](t)(n.Dial("fra")(t.Context(), "tcp", n.IP("ams")+":91"))
	defer c.Close()
	for range 3 {
		began := time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 100*time.Millisecond || took > 20*time.Second {
			t.Errorf("there and back took %s, want 100ms", took)
		}
	}
}

// TestNetworkSaysWhatIsMissing: without the program ip the error names the package.
func TestNetworkSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := NewNetwork("fra"); err == nil || !strings.Contains(err.Error(), "iproute2") {
		t.Errorf("got %v", err)
	}
}
