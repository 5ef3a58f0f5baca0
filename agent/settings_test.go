package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// cli runs one command line with an environment and returns the exit code and both outputs.
func cli(t *testing.T, env map[string]string, args ...string) (code int, out string) {
	t.Helper()
	var text bytes.Buffer
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	code = command(t.Context(), args, lookup, &text, &text)
	return code, text.String()
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadSettingsNameTheRemedy(t *testing.T) {
	good := tokenFile(t, testToken+"\n")
	f := func(want string, change ...string) {
		t.Helper()
		env := map[string]string{
			"EVENKEEL_SITE": "fra", "EVENKEEL_SERVERS": "https://a.example:8450", "EVENKEEL_TOKEN_FILE": good,
			"EVENKEEL_DATA": t.TempDir(),
		}
		code, out := cli(t, env, append([]string{"run"}, change...)...)
		if code != exitSettings || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: exit %d: %s want %q in one line", change, code, out, want)
		}
		if strings.Contains(out, testToken) {
			t.Errorf("%v: the token is shown: %s", change, out)
		}
	}
	f("set --site (or EVENKEEL_SITE)", "--site=")
	f("use lower-case letters", "--site=Frankfurt am Main")
	f("set --servers", "--servers=")
	f("must start with https://", "--servers=a.example:8450")
	f("must not carry credentials", "--servers=https://u:"+testToken+"@a.example")
	f("listed twice", "--servers=https://a.example:1,https://A.example:1/")
	f("set --token-file", "--token-file=")
	f("does not exist; create one on a server with: evenkeel-server token create --kind site --name fra", "--token-file=/no/such/file")
	f("exactly one token", "--token-file="+tokenFile(t, testToken+" "+testToken))
	f("exactly one token", "--token-file="+tokenFile(t, ""))
	f("site or host", "--role=boss")
	f("host:port=addr:port", "--connect-to=x")
	f("write it like 127.0.0.1:13133", "--health=13133")
	f("a port is a number", "--otlp=127.0.0.1:http")
	f("true or false", "--host-metrics=maybe")
	f("at least 8", "--buffer-mib=1")
	f("choose another with --data", "--data=/dev/null/x")
	f("set --data", "--data=")
	f("give the path of a Collector configuration", "--config=/no/such/file")
	f("--max-series 0 must be from 1 to 10000000", "--max-series=0")
	f("must be a whole number", "--max-series=many")
	f("not of this machine alone", "--changes=0.0.0.0:13134")
	f("true or false", "--watch-packages=maybe")
	if !canScrape { // deploy/contract has the errors of a build that can
		f("no evenkeel-agent-scraper beside", "--scrape-target=http://127.0.0.1:9100")
		f("no evenkeel-agent-scraper beside", "--scrape=/no/such/file")
	}

	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	f("is taken: is another agent running? Choose another address with --health", "--health="+taken.Addr().String())
	f("is taken: is another agent running? Choose another address with --otlp", "--health=", "--otlp="+taken.Addr().String())
}

func TestASecondAgentOnTheSameDataIsToldSo(t *testing.T) {
	dir := t.TempDir()
	unlock, err := prepare(settings{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(settings{Data: dir}); err == nil || !strings.Contains(err.Error(), "another agent uses it") {
		t.Errorf("the second agent: %v", err)
	}
	unlock()
	unlock, err = prepare(settings{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestThePipelineIsValidForAnyServerList(t *testing.T) {
	token := tokenFile(t, testToken)
	f := func(args ...string) {
		t.Helper()
		args = append([]string{"validate", "--site=fra", "--token-file=" + token, "--data=" + t.TempDir()}, args...)
		if code, out := cli(t, nil, args...); code != exitOK || out != "ok\n" {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
		code, out := cli(t, nil, append(args, "--print")...)
		var parsed map[string]any
		if err := yaml.Unmarshal([]byte(out), &parsed); code != exitOK || err != nil || strings.Contains(out, testToken) {
			t.Errorf("%v: printed with exit %d, %v:\n%s", args, code, err, out)
		}
	}
	f("--servers=https://a.example:8450")
	f("--servers=https://a.example:8450,http://127.0.0.1:8450,https://[::1]:8450/base", "--role=site")
	f("--servers=https://a.example", "--role=site", "--host-metrics=true", "--health=", "--otlp=")
	f("--servers=https://a.example", "--role=site", "--connect-to=a:1=b:2")
	f("--servers=https://a.example", "--changes=127.0.0.1:13134", "--watch-packages=true", "--max-series=100")
	links := filepath.Join(t.TempDir(), "replication.yaml")
	if err := os.WriteFile(links, []byte(`- {engine: redis, address: "127.0.0.1:6379", links: [{store: cart, from: ams, to: fra, end: target}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f("--servers=https://a.example,https://b.example", "--role=site", "--replication="+links)
	if code, out := cli(t, nil, "validate", "--site=fra", "--token-file="+token, "--data="+t.TempDir(), "--servers=https://a.example", "--role=site", "--replication="+token); code != exitSettings || !strings.Contains(out, "servers") {
		t.Errorf("a file that is none of replication: exit %d: %s", code, out)
	}
}

func TestRolesAndQueues(t *testing.T) {
	s := settings{Site: "fra", Role: "host", Servers: []string{"https://a.example:1", "https://b.example:2"}, TokenFile: "/x/$HOME"}
	host, err := render(s, "h1")
	if err != nil {
		t.Fatal(err)
	}
	f := func(yaml []byte, want string, there bool) {
		t.Helper()
		if strings.Contains(string(yaml), want) != there {
			t.Errorf("%q in the pipeline is %v, want %v:\n%s", want, !there, there, yaml)
		}
	}
	f(host, "host_metrics:", true)
	f(host, "siteprobe", false)
	f(host, "evenkeelfast", false)
	f(host, "otlp_http/a.example_1", true)
	f(host, "/x/$$HOME", true) // not for confmap to expand
	s.Role = "site"
	site, err := render(s, "h1")
	if err != nil {
		t.Fatal(err)
	}
	f(site, "host_metrics:", false)
	f(site, "exporters: [evenkeelfast/a.example_1, evenkeelfast/b.example_2]", true)
	s.Servers = []string{"https://b.example:2"} // its queue on disk keeps its name when the list shrinks
	if site, err = render(s, "h1"); err != nil {
		t.Fatal(err)
	}
	f(site, "otlp_http/b.example_2", true)
}

func TestInspection(t *testing.T) {
	if code, out := cli(t, nil, "version"); code != exitOK || !strings.HasPrefix(out, "evenkeel-agent ") {
		t.Errorf("version: exit %d %s", code, out)
	}
	code, out := cli(t, nil, "components")
	if code != exitOK || !strings.Contains(out, "receivers: evenkeelself, host_metrics, ") {
		t.Errorf("components: exit %d %s", code, out)
	}
	closed := freeAddress(t)
	if code, out := cli(t, nil, "probe", "http://shop.invalid:80/", "--connect-to", "shop.invalid:80="+closed); code != exitFailed ||
		!strings.Contains(out, "is down: refused") {
		t.Errorf("probe: exit %d %s", code, out)
	}
	if code, out := cli(t, nil, "probe", "tcp://"+closed, "--json"); code != exitFailed || !strings.Contains(out, `"reason":"refused"`) {
		t.Errorf("probe: exit %d %s", code, out)
	}
	if code, out := cli(t, nil, "probe", "http://"); code != exitSettings || !strings.Contains(out, "names no host") {
		t.Errorf("probe: exit %d %s", code, out)
	}
}
