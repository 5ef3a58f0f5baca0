package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/evenkeel/evenkeel/agent/controlextension"
	"github.com/evenkeel/evenkeel/agent/internal/deadman"
	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/transport"
	"github.com/evenkeel/evenkeel/agent/seriescapprocessor"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// settings is all an operator says to an agent. Flags win over the environment, which wins over the defaults.
type settings struct {
	Site        string
	Servers     []string
	TokenFile   string
	Role        string
	Data        string
	ConnectTo   string
	Health      string // empty: no health endpoint
	OTLP        string // empty: no OTLP receiver
	HostMetrics bool   // collect host metrics at role site too
	BufferMiB   int64  // per server
	PageKeyFile string // empty: the dead man's switch is off
	PageAfter   time.Duration
	PageURL     string
	Replication string // file of the replicationlag receiver; empty: no replication is looked at
	Scrape      string // file of scrape configs; empty: none
	Targets     []string
	MaxSeries   int
	Changes     string // loopback address of the door for changes; empty: a socket in Data
	// WatchPackages declares changes of dpkg's packages.
	WatchPackages bool
	Config        string // a pipeline of the operator's own; the settings above except Data do not apply
}

// setting is one row of the table of settings.
type setting struct {
	flag, env, standard, usage string
	set                        func(s *settings, value string) error
}

func table() []setting {
	text := func(field func(*settings) *string) func(*settings, string) error {
		return func(s *settings, value string) error {
			*field(s) = strings.TrimSpace(value)
			return nil
		}
	}
	return []setting{
		{
			"site", "EVENKEEL_SITE", "", "name of the site this agent stands at",
			text(func(s *settings) *string { return &s.Site }),
		},
		{
			"servers", "EVENKEEL_SERVERS", "", "server URLs, separated by commas",
			func(s *settings, value string) error { s.Servers = list(value); return nil },
		},
		{
			"token-file", "EVENKEEL_TOKEN_FILE", "", "file with the site's token",
			text(func(s *settings) *string { return &s.TokenFile }),
		},
		{
			"role", "EVENKEEL_ROLE", controlextension.RoleHost, "host (host metrics only) or site (probes, 1 s heartbeat)",
			text(func(s *settings) *string { return &s.Role }),
		},
		{
			"data", "EVENKEEL_DATA", "data/agent", "directory for the topology and the queues",
			text(func(s *settings) *string { return &s.Data }),
		},
		{
			"connect-to", "EVENKEEL_CONNECT_TO", "", "probe dial overrides, host:port=addr:port,...",
			text(func(s *settings) *string { return &s.ConnectTo }),
		},
		{
			"health", "EVENKEEL_HEALTH", "127.0.0.1:13133", "address of the health endpoint; empty turns it off",
			text(func(s *settings) *string { return &s.Health }),
		},
		{
			"otlp", "EVENKEEL_OTLP", "127.0.0.1:4318", "address of the OTLP/HTTP receiver; empty turns it off",
			text(func(s *settings) *string { return &s.OTLP }),
		},
		{
			"host-metrics", "EVENKEEL_HOST_METRICS", "false", "collect host metrics at role site as well",
			func(s *settings, value string) (err error) { s.HostMetrics, err = truth(value); return err },
		},
		{
			"buffer-mib", "EVENKEEL_BUFFER_MIB", "256", "disk buffer per server in MiB",
			func(s *settings, value string) (err error) { s.BufferMiB, err = size(value); return err },
		},
		{
			"page-key-file", "EVENKEEL_PAGE_KEY_FILE", "",
			"file with a PagerDuty routing key; a site agent then pages by itself when no server answers",
			text(func(s *settings) *string { return &s.PageKeyFile }),
		},
		{
			"page-after", "EVENKEEL_PAGE_AFTER", "2m", "how long no server may have answered before it pages, at least 10s",
			func(s *settings, value string) (err error) { s.PageAfter, err = duration(value); return err },
		},
		{
			"page-url", "EVENKEEL_PAGE_URL", pagerduty.DefaultBaseURL,
			"PagerDuty's address; https://events.eu.pagerduty.com for the EU, or a relay, which may be private",
			text(func(s *settings) *string { return &s.PageURL }),
		},
		{
			"replication", "EVENKEEL_REPLICATION", "",
			"YAML file with the databases of this site whose replication is looked at; role site only",
			text(func(s *settings) *string { return &s.Replication }),
		},
		{
			"scrape", "EVENKEEL_SCRAPE", "", "YAML file with scrape_configs as Prometheus has them",
			text(func(s *settings) *string { return &s.Scrape }),
		},
		{
			"scrape-target", "EVENKEEL_SCRAPE_TARGET", "",
			"addresses to scrape every 15 s, separated by commas, such as http://127.0.0.1:9100/metrics",
			func(s *settings, value string) error { s.Targets = list(value); return nil },
		},
		{
			"max-series", "EVENKEEL_MAX_SERIES", strconv.Itoa(seriescapprocessor.DefaultSeries),
			"how many series of host, scraped and OTLP metrics may be alive; new ones over it are dropped and counted",
			func(s *settings, value string) (err error) { s.MaxSeries, err = number(value); return err },
		},
		{
			"changes", "EVENKEEL_CHANGES", "",
			"loopback address at which changes may be declared, such as 127.0.0.1:13134; empty: a socket in the data directory",
			text(func(s *settings) *string { return &s.Changes }),
		},
		{
			"watch-packages", "EVENKEEL_WATCH_PACKAGES", "false", "declare a change when versions of Debian packages change",
			func(s *settings, value string) (err error) { s.WatchPackages, err = truth(value); return err },
		},
		{
			"config", "EVENKEEL_CONFIG", "", "a Collector configuration that replaces the built-in pipeline",
			text(func(s *settings) *string { return &s.Config }),
		},
	}
}

// addFlags declares the settings as flags.
func addFlags(flags *pflag.FlagSet) {
	for _, row := range table() {
		flags.String(row.flag, row.standard, row.usage+" ["+row.env+"]")
	}
}

// readSettings resolves flags, environment and defaults, and checks the result. Every error names the setting
// and the remedy; none shows a token.
func readSettings(flags *pflag.FlagSet, lookup func(string) (string, bool)) (settings, error) {
	var s settings
	for _, row := range table() {
		value := row.standard
		if v, ok := lookup(row.env); ok {
			value = v
		}
		if flags.Changed(row.flag) {
			var err error
			if value, err = flags.GetString(row.flag); err != nil {
				return settings{}, err
			}
		}
		if err := row.set(&s, value); err != nil {
			return settings{}, fmt.Errorf("--%s %q: %w", row.flag, value, err)
		}
	}
	return s, s.check()
}

func (s *settings) check() error {
	if s.Data == "" {
		return errors.New("no data directory: set --data, for example --data /var/lib/evenkeel")
	}
	data, err := filepath.Abs(s.Data)
	if err != nil {
		return fmt.Errorf("--data %q: %w", s.Data, err)
	}
	s.Data = data
	if s.Config != "" {
		if _, err := os.Stat(s.Config); err != nil {
			return fmt.Errorf("--config %s cannot be read: give the path of a Collector configuration, or leave it out", s.Config)
		}
		return nil
	}
	for _, check := range []func() error{
		s.checkSite, s.checkServers, s.checkToken, s.checkRole, s.checkConnectTo, s.checkPage, s.checkReplication,
		s.checkScrape, func() error { return seriesSetting(s.MaxSeries) }, s.checkChanges,
		func() error { return checkListen("health", s.Health) },
		func() error { return checkListen("otlp", s.OTLP) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) checkSite() error {
	if s.Site == "" {
		return errors.New("no site: set --site (or EVENKEEL_SITE) to the name this site has in the server's configuration")
	}
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`).MatchString(s.Site) {
		return fmt.Errorf("--site %q is no site name: use lower-case letters, digits, - and _, at most 63, such as fra", s.Site)
	}
	return nil
}

func (s *settings) checkServers() error {
	if len(s.Servers) == 0 {
		return errors.New("no server: set --servers (or EVENKEEL_SERVERS), for example --servers https://evenkeel.example.net:8450")
	}
	names := map[string]bool{}
	for _, server := range s.Servers {
		if err := transport.CheckURL(server); err != nil {
			return fmt.Errorf("--servers: an address %w; write it like https://evenkeel.example.net:8450", err)
		}
		if name := queueName(server); names[name] {
			return fmt.Errorf("--servers: %s is listed twice; name every server once", server)
		}
		names[queueName(server)] = true
	}
	return nil
}

func (s *settings) checkToken() error {
	const remedy = "create one on a server with: evenkeel-server token create --kind site --name "
	if s.TokenFile == "" {
		return errors.New("no token file: set --token-file (or EVENKEEL_TOKEN_FILE); " + remedy + s.Site)
	}
	path, err := filepath.Abs(s.TokenFile)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	s.TokenFile = path
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("token file %s does not exist; %s%s", path, remedy, s.Site)
	case err != nil:
		return fmt.Errorf("token file %s cannot be read by this user; give it the right owner (mode 0600)", path)
	case len(strings.Fields(string(raw))) != 1:
		return fmt.Errorf("token file %s must hold exactly one token; %s%s", path, remedy, s.Site)
	}
	return nil
}

func (s *settings) checkRole() error {
	if s.Role != controlextension.RoleSite && s.Role != controlextension.RoleHost {
		return fmt.Errorf("--role %q must be site or host", s.Role)
	}
	return nil
}

func (s *settings) checkConnectTo() error {
	if _, err := probe.ParseOverrides(s.ConnectTo); err != nil {
		return fmt.Errorf("--connect-to: %w; write it like fra.example.net:443=10.0.0.7:8443", err)
	}
	return nil
}

func (s *settings) checkPage() error {
	if err := controlextension.CheckPage(s.PageAfter, s.PageURL); err != nil {
		return fmt.Errorf("--page-%w", err)
	}
	if s.PageKeyFile == "" {
		return nil
	}
	if s.Role != controlextension.RoleSite {
		return errors.New("--page-key-file is for agents of role site: set --role site, or leave it out")
	}
	if _, err := deadman.ReadKey(s.PageKeyFile); err != nil {
		return err
	}
	path, err := filepath.Abs(s.PageKeyFile)
	if err != nil {
		return fmt.Errorf("--page-key-file: %w", err)
	}
	s.PageKeyFile = path
	return nil
}

func (s *settings) checkReplication() error {
	if s.Replication == "" {
		return nil
	}
	if s.Role != controlextension.RoleSite {
		return errors.New("--replication is for agents of role site: set --role site, or leave it out")
	}
	path, err := filepath.Abs(s.Replication)
	if err != nil {
		return fmt.Errorf("--replication: %w", err)
	}
	if strings.ContainsAny(path, "${}") {
		return fmt.Errorf("--replication %q: a path with $ or braces cannot be used", path)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("--replication %s cannot be read: give the path of a YAML file with a list of servers, see evenkeel-agent probe --help", path)
	}
	s.Replication = path
	return nil
}

func checkListen(name, address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--%s %q is no address: write it like 127.0.0.1:13133", name, address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("--%s %q: a port is a number up to 65535", name, address)
	}
	return nil
}

func list(value string) []string {
	var out []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimRight(strings.TrimSpace(part), "/"); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func truth(value string) (bool, error) {
	v, err := strconv.ParseBool(value)
	if err != nil {
		return false, errors.New("must be true or false")
	}
	return v, nil
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, errors.New("must be a time such as 90s or 2m")
	}
	return d, nil
}

func size(value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 8 {
		return 0, errors.New("must be a whole number of MiB, at least 8")
	}
	return n, nil
}
