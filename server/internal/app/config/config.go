package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Config is the whole of evenkeel.yaml.
type Config struct {
	Lab        bool                  `yaml:"lab"`
	Server     Server                `yaml:"server"`
	Replicas   []Replica             `yaml:"replicas"`
	Ledger     Ledger                `yaml:"ledger"`
	Storage    Storage               `yaml:"storage"`
	Sites      []Site                `yaml:"sites"`
	Witnesses  []Witness             `yaml:"witnesses"`
	Services   []Service             `yaml:"services"`
	Stores     []Store               `yaml:"stores"`
	Probes     Probes                `yaml:"probes"`
	Watches    []Watch               `yaml:"watches"`
	Statistics Statistics            `yaml:"statistics"`
	Policies   []Policy              `yaml:"policies"`
	Guards     Guards                `yaml:"guards"`
	Assertions []Assertion           `yaml:"assertions"`
	Freezes    []Freeze              `yaml:"freezes"`
	Targets    []Target              `yaml:"targets"`
	Plans      map[string][]PlanStep `yaml:"plans"`
	Notify     []Notify              `yaml:"notify"`
}

// Server says where this server stands and how people reach it.
type Server struct {
	At  string `yaml:"at"`  // the location of this server: a site, a witness, or any other name
	URL string `yaml:"url"` // for links in pages and webhooks
}

// Replica is one of three or five servers that decide together. No replicas is one server, alone.
type Replica struct {
	Name   string `yaml:"name"`
	At     string `yaml:"at"`     // the location it stands at: a site, a witness, or any other name
	Peer   string `yaml:"peer"`   // where the other replicas reach it, https://host:port
	Listen string `yaml:"listen"` // host:port where it listens for them, when that is not the host and port of peer
	URL    string `yaml:"url"`    // where people and agents reach it
}

// Ledger is how the replicas keep their common record.
type Ledger struct {
	Pattern   string   `yaml:"pattern"`   // how far apart the replicas are: same-city, cross-region or global
	TLS       TLS      `yaml:"tls"`       // certificates of the operator's own
	Endpoints []string `yaml:"endpoints"` // an etcd that somebody else runs; empty: one in the servers
}

// TLS names the files of an authority, a certificate and its key.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Storage is where samples are kept: without any address VictoriaMetrics in-process, with url a single node, with insert
// and select a cluster.
type Storage struct {
	URL            string   `yaml:"url"`
	Insert         string   `yaml:"insert"`
	Select         string   `yaml:"select"`
	Tenant         string   `yaml:"tenant"`
	ShareDetectors bool     `yaml:"share_detectors"` // each watch runs on one replica; the others read what it wrote
	Retention      Duration `yaml:"retention"`
}

// Site is one place that runs the full stack.
type Site struct {
	Name     string             `yaml:"name"`
	TimeZone string             `yaml:"time_zone"`
	Region   string             `yaml:"region"`
	Pattern  string             `yaml:"pattern"`
	Capacity map[string]float64 `yaml:"capacity"`
	Probes   []SiteProbe        `yaml:"probes"`
}

// Witness is a location with vantages and no capacity.
type Witness struct {
	Name string `yaml:"name"`
}

// Service is a product served by several sites.
type Service struct {
	Name      string           `yaml:"name"`
	Survivors []string         `yaml:"survivors"`
	Entries   map[string]Entry `yaml:"entries"`
	Probes    []ServiceProbe   `yaml:"probes"`
	Objective Objective        `yaml:"objective"`
	MovesWith []string         `yaml:"moves_with"`
}

// Objective is what users were promised.
type Objective struct {
	LatencyP99 Duration `yaml:"latency_p99"`
	Success    Percent  `yaml:"success"`
}

// Store is a replicated data store.
type Store struct {
	Name       string `yaml:"name"`
	Engine     string `yaml:"engine"`
	Controller string `yaml:"controller"`
	Fence      string `yaml:"fence"`
	Links      []Link `yaml:"links"`
}

// Link is a directed replication edge.
type Link struct {
	From string   `yaml:"from"`
	To   string   `yaml:"to"`
	RPO  Duration `yaml:"rpo"`
}

// Probes is how agents probe.
type Probes struct {
	Interval  Duration `yaml:"interval"`
	Deadline  Duration `yaml:"deadline"`
	TLSExpiry Duration `yaml:"tls_expiry"` // a certificate that ends sooner is named as a cause; 0s: never
}

// Statistics is what the detectors together may say of a service at a site.
type Statistics struct {
	// ChancePerYear is how often a year they may accuse one by chance, in the whole installation.
	ChancePerYear float64 `yaml:"chance_per_year"`
}

// Policy says when which plan is proposed.
type Policy struct {
	Name     string   `yaml:"name"`
	When     When     `yaml:"when"`
	Services []string `yaml:"services"`
	Hold     Duration `yaml:"hold"`
	Plan     string   `yaml:"plan"`
	Mode     Mode     `yaml:"mode"`
}

// When is the condition of a policy.
type When struct {
	Condition Condition `yaml:"condition"`
	Classes   []Class   `yaml:"classes"`
}

// Guards are the limits of the safety guards. A 0 in max_drained_sites or in a budget means none at all, not no
// limit: nothing is then drained, or done, automatically.
type Guards struct {
	MaxDrainedSites int      `yaml:"max_drained_sites"`
	MinServing      int      `yaml:"min_serving"`
	Cooldown        Duration `yaml:"cooldown"`
	Budget          Budget   `yaml:"budget"`
	RetryFactor     float64  `yaml:"retry_factor"`
	DrainExpiry     Duration `yaml:"drain_expiry"`
	NotAfter        Duration `yaml:"not_after"`
	CloseAfter      Duration `yaml:"close_after"`
}

// Budget is how many automatic actions are allowed.
type Budget struct {
	PerHour int `yaml:"per_hour"`
	PerDay  int `yaml:"per_day"`
}

// Assertion is a rule over the state after an action.
type Assertion struct {
	Name     string   `yaml:"name"`
	AtLeast  int      `yaml:"at_least"`
	Of       []string `yaml:"of"`
	Inverted bool     `yaml:"inverted"`
	Wait     Duration `yaml:"wait"`
}

// Freeze is a cron-scheduled window in which actions of its scope are not allowed.
type Freeze struct {
	Name     string   `yaml:"name"`
	Cron     string   `yaml:"cron"`
	Lasts    Duration `yaml:"lasts"`
	TimeZone string   `yaml:"time_zone"`
	Scope    []string `yaml:"scope"`
}

// Target is what a step talks to.
type Target struct {
	Name         string      `yaml:"name"`
	Type         string      `yaml:"type"`
	URL          string      `yaml:"url"`
	Secret       core.Secret `yaml:"secret"`
	OldSecret    core.Secret `yaml:"old_secret"`
	AllowPrivate bool        `yaml:"allow_private"`
	Timeout      Duration    `yaml:"timeout"`
}

// PlanStep is one entry of a plan; each weight becomes a step of its own.
type PlanStep struct {
	Target  string `yaml:"target"`
	Weights []int  `yaml:"weights"`
	Verify  Verify `yaml:"verify"`
	OnFail  string `yaml:"on_fail"`
}

// Verify is what the edge must show after each weight.
type Verify struct {
	ShareBelow   Percent  `yaml:"share_below"`
	ShareAbove   Percent  `yaml:"share_above"`
	SuccessAbove Percent  `yaml:"success_above"`
	Within       Duration `yaml:"within"`
}

// Notify is one way to page people.
type Notify struct {
	Type         string      `yaml:"type"`
	RoutingKey   core.Secret `yaml:"routing_key"`
	URL          string      `yaml:"url"`
	AllowPrivate bool        `yaml:"allow_private"` // the address is a relay in our own network
}

// Duration is written 800ms, 10s, 5m, 4h or 100d.
type Duration time.Duration

func (d *Duration) decode(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write 800ms, 10s, 5m, 4h or 100d", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative; write a duration of zero or more", text)
	}
	*d = Duration(v)
	return nil
}

// D is the duration as Go's own type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Percent is written 99.9% and means the fraction 0.999.
type Percent float64

func (p *Percent) decode(text string) error {
	digits, ok := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(f >= 0) || f > 1e6 {
		return fmt.Errorf("%q is not a percentage; write it with its sign, as in 99.9%%", text)
	}
	*p = Percent(f / 100)
	return nil
}

// Condition is a core.Condition by name.
type Condition core.Condition

func (c *Condition) decode(text string) error {
	return (*core.Condition)(c).UnmarshalText([]byte(text))
}

// Class is a core.Class by name.
type Class core.Class

func (c *Class) decode(text string) error { return (*core.Class)(c).UnmarshalText([]byte(text)) }

// Mode is a core.Mode by name.
type Mode core.Mode

func (m *Mode) decode(text string) error { return (*core.Mode)(m).UnmarshalText([]byte(text)) }

// Default is the configuration of an empty file: nothing is watched and nothing acts.
func Default() Config {
	probe := core.DefaultProbeTiming()
	return Config{
		Ledger:     Ledger{Pattern: "cross-region"},
		Storage:    Storage{Retention: Duration(100 * 24 * time.Hour)},
		Probes:     Probes{Interval: Duration(probe.Interval), Deadline: Duration(probe.Deadline), TLSExpiry: Duration(14 * 24 * time.Hour)},
		Statistics: Statistics{ChancePerYear: core.DefaultChancePerYear},
		Guards: Guards{
			MaxDrainedSites: 1, MinServing: 1, Cooldown: Duration(30 * time.Minute),
			Budget: Budget{PerHour: 2, PerDay: 4}, RetryFactor: 1.2, DrainExpiry: Duration(4 * time.Hour),
			NotAfter: Duration(2 * time.Minute), CloseAfter: Duration(time.Minute),
		},
	}
}

// Load reads and checks a file. Its errors have core.CodeInvalid; the text has one line for each mistake.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &core.Error{
			Code: core.CodeInvalid, Message: "the configuration cannot be read", Err: err,
			Hint: "correct the path; a server without --config runs, watches nothing and acts on nothing",
		}
	}
	c, err := Parse(path, data, os.LookupEnv)
	if err != nil {
		return Config{}, &core.Error{Code: core.CodeInvalid, Message: err.Error()}
	}
	return c, nil
}

// Parse is Load without the disk, and its error is Problems; file names the source in errors and anchors relative ${file:} paths.
func Parse(file string, data []byte, env func(string) (string, bool)) (Config, error) {
	d := &decoder{
		file: filepath.Base(file), dir: filepath.Dir(file), env: env,
		where: map[string]position{},
	}
	c := Default()
	d.decodeFile(data, &c)
	if len(d.problems) == 0 {
		c.fill()
		c.validate(d)
	}
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return Config{}, d.problems
	}
	return c, nil
}

// fill gives list entries their defaults.
func (c *Config) fill() {
	for i := range c.Sites {
		orDefault(&c.Sites[i].TimeZone, "UTC")
		orDefault(&c.Sites[i].Pattern, "cross-region")
	}
	c.fillProbes()
	c.fillWatches()
	for i := range c.Policies {
		if c.Policies[i].Mode == Mode(core.ModeUnknown) {
			c.Policies[i].Mode = Mode(core.ModeObserve)
		}
	}
	for i := range c.Freezes {
		orDefault(&c.Freezes[i].TimeZone, "UTC")
		if len(c.Freezes[i].Scope) == 0 {
			c.Freezes[i].Scope = []string{"drills", "restores", "elective"}
		}
	}
	for i := range c.Targets {
		if c.Targets[i].Timeout == 0 {
			c.Targets[i].Timeout = Duration(5 * time.Second)
		}
	}
	for _, steps := range c.Plans {
		for i := range steps {
			orDefault(&steps[i].OnFail, "stop")
			if steps[i].Verify.Within == 0 {
				steps[i].Verify.Within = Duration(30 * time.Second)
			}
		}
	}
	for i := range c.Notify {
		orDefault(&c.Notify[i].URL, "https://events.pagerduty.com")
	}
}

func orDefault(s *string, def string) {
	if *s == "" {
		*s = def
	}
}
