package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Config is the whole of evenkeel.yaml.
type Config struct {
	Lab          bool                  `yaml:"lab"` // a machine that serves nobody: holds and cooldowns may be below their floors
	Server       Server                `yaml:"server"`
	Replicas     []Replica             `yaml:"replicas"`
	Ledger       Ledger                `yaml:"ledger"`
	Storage      Storage               `yaml:"storage"`
	Sites        []Site                `yaml:"sites"`
	Witnesses    []Witness             `yaml:"witnesses"`
	Services     []Service             `yaml:"services"`
	Stores       []Store               `yaml:"stores"`
	Probes       Probes                `yaml:"probes"`
	Watches      []Watch               `yaml:"watches"`
	Statistics   Statistics            `yaml:"statistics"`
	Policies     []Policy              `yaml:"policies"`
	Guards       Guards                `yaml:"guards"`
	Assertions   []Assertion           `yaml:"assertions"`
	Freezes      []Freeze              `yaml:"freezes"`
	SpecialTimes []SpecialTime         `yaml:"special_times,omitempty"`
	Targets      []Target              `yaml:"targets"`
	Plans        map[string][]PlanStep `yaml:"plans"`
	Notify       []Notify              `yaml:"notify"`
}

// Server says where this server stands and how people reach it.
type Server struct {
	At  string `yaml:"at"`  // the location of this server: a site, a witness, or any other name
	URL string `yaml:"url"` // for links in pages and webhooks
}

// Replica is one of three or five servers that decide together. No replicas is one server, alone.
type Replica struct {
	Name   string `yaml:"name"`   // its name, which --replica takes
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
	CA   string `yaml:"ca"`   // file of the authority in PEM
	Cert string `yaml:"cert"` // file of the certificate in PEM
	Key  string `yaml:"key"`  // file of its key in PEM
}

// Storage is where samples are kept: without any address VictoriaMetrics in-process, with url a single node, with insert
// and select a cluster.
type Storage struct {
	URL            string   `yaml:"url"`             // of a single node
	Insert         string   `yaml:"insert"`          // of the vminsert of a cluster
	Select         string   `yaml:"select"`          // of the vmselect of a cluster
	Tenant         string   `yaml:"tenant"`          // of a cluster: accountID or accountID:projectID
	ShareDetectors bool     `yaml:"share_detectors"` // each watch runs on one replica; the others read what it wrote
	Retention      Duration `yaml:"retention"`       // how long samples are kept, a day at least
}

// Site is one place that runs the full stack.
type Site struct {
	Name     string             `yaml:"name"`      // its name, as its agents have it
	TimeZone string             `yaml:"time_zone"` // as in Europe/Berlin
	Region   string             `yaml:"region"`    // a word of your own
	Pattern  string             `yaml:"pattern"`   // how far it is from the others: same-city, cross-region or global
	Capacity map[string]float64 `yaml:"capacity"`  // requests/s that it can serve, by service
	Probes   []SiteProbe        `yaml:"probes"`    // questions about the whole site
}

// Witness is a location with vantages and no capacity.
type Witness struct {
	Name string `yaml:"name"` // its name, as its agents have it
}

// Service is a product served by several sites.
type Service struct {
	Name      string           `yaml:"name"`       // its name
	Survivors []string         `yaml:"survivors"`  // the sites that may take the load; empty: all
	Entries   map[string]Entry `yaml:"entries"`    // by site: where its users enter, which every site and witness probes
	Probes    []ServiceProbe   `yaml:"probes"`     // further questions about it
	Objective Objective        `yaml:"objective"`  // what users were promised
	MovesWith []string         `yaml:"moves_with"` // services that move when this one does
}

// Objective is what users were promised.
type Objective struct {
	LatencyP99 Duration `yaml:"latency_p99"` // 99 of 100 answers come within it
	Success    Percent  `yaml:"success"`     // so many answers are no errors
}

// Store is a replicated data store.
type Store struct {
	Name       string `yaml:"name"`       // its name, the first part of the label link
	Engine     string `yaml:"engine"`     // postgresql, mysql, redis, nats, kafka or a word of your own
	Controller string `yaml:"controller"` // what promotes its copies
	Fence      string `yaml:"fence"`      // how an old primary is kept from taking writes
	Links      []Link `yaml:"links"`      // who replicates to whom
}

// Link is a directed replication edge.
type Link struct {
	From string   `yaml:"from"` // the site or witness where it begins
	To   string   `yaml:"to"`   // the site or witness where it ends
	RPO  Duration `yaml:"rpo"`  // how far the copy may be behind
}

// Probes is how agents probe.
type Probes struct {
	Interval  Duration `yaml:"interval"`   // how often, 500ms to 1m
	Deadline  Duration `yaml:"deadline"`   // how long an answer may take, below the interval
	TLSExpiry Duration `yaml:"tls_expiry"` // a certificate that ends sooner is named as a cause; 0s: never
}

// Statistics is what the detectors together may say of a service at a site.
type Statistics struct {
	// ChancePerYear is how often a year they may accuse one by chance, in the whole installation.
	ChancePerYear float64 `yaml:"chance_per_year"`
}

// Policy says when which plan is proposed.
type Policy struct {
	Name     string   `yaml:"name"`     // its name
	When     When     `yaml:"when"`     // what must be the case
	Services []string `yaml:"services"` // those it is for; empty: all
	Hold     Duration `yaml:"hold"`     // for how long it must have been the case; outside the lab there is a floor
	Plan     string   `yaml:"plan"`     // what is then proposed
	Mode     Mode     `yaml:"mode"`     // how far it may go by itself
}

// When is the condition of a policy.
type When struct {
	Condition Condition `yaml:"condition"` // of a service at a site
	Classes   []Class   `yaml:"classes"`   // of evidence that must agree; automatic drains need two, one of them outside or inside
}

// Guards are the limits of the safety guards. A 0 in max_drained_sites or in a budget means none at all, not no
// limit: nothing is then drained, or done, automatically.
type Guards struct {
	MaxDrainedSites int      `yaml:"max_drained_sites"` // no more are drained at a time
	MinServing      int      `yaml:"min_serving"`       // so many sites serve at all times
	Cooldown        Duration `yaml:"cooldown"`          // between two automatic actions for the same subject; 1m at least outside the lab
	Budget          Budget   `yaml:"budget"`            // of automatic actions
	RetryFactor     float64  `yaml:"retry_factor"`      // the demand of moved users is multiplied by it, for they try again
	DrainExpiry     Duration `yaml:"drain_expiry"`      // a drain that stands longer is paged, 1m to 3d
	NotAfter        Duration `yaml:"not_after"`         // an older command is not delivered, 5s to 10m
	CloseAfter      Duration `yaml:"close_after"`       // so long healthy, and an episode without an action is over
}

// Budget is how many automatic actions are allowed.
type Budget struct {
	PerHour int `yaml:"per_hour"` // in any hour
	PerDay  int `yaml:"per_day"`  // in any day
}

// Assertion is a rule over the state after an action.
type Assertion struct {
	Name     string   `yaml:"name"`     // its name
	AtLeast  int      `yaml:"at_least"` // so many of the sites serve after every action
	Of       []string `yaml:"of"`       // the sites that are counted
	Inverted bool     `yaml:"inverted"` // fewer than at_least must serve
	Wait     Duration `yaml:"wait"`     // not in this version: 0s
}

// Freeze is a window on the calendar in which actions of its scope are not allowed.
type Freeze struct {
	Name     string   `yaml:"name"`            // its name
	Cron     string   `yaml:"cron"`            // when it begins each time: minute hour day month weekday
	Dates    []string `yaml:"dates,omitempty"` // in place of cron: the days on which it begins, as in 2027-03-29 or "2027-03-29 18:00"
	Lasts    Duration `yaml:"lasts"`           // for how long
	TimeZone string   `yaml:"time_zone"`       // of cron and dates, as in Europe/Berlin
	Scope    []string `yaml:"scope"`           // the kinds of action that are not allowed
}

// Target is what a step talks to.
type Target struct {
	Name         string      `yaml:"name"`                 // its name, for plans
	Type         string      `yaml:"type"`                 // how it is spoken to
	URL          string      `yaml:"url"`                  // where webhooks are sent
	Secret       core.Secret `yaml:"secret"`               // signs the webhooks; `evenkeel-server secret` makes one
	OldSecret    core.Secret `yaml:"old_secret,omitempty"` // signs as well, while the secret is being changed
	AllowPrivate bool        `yaml:"allow_private"`        // the address may be one of our own network
	Timeout      Duration    `yaml:"timeout"`              // of one attempt
}

// PlanStep is one entry of a plan; each weight becomes a step of its own.
type PlanStep struct {
	Target  string `yaml:"target"`  // who is told
	Weights []int  `yaml:"weights"` // percent of normal, one after the other; a drain ends at 0, a restore at 100
	Verify  Verify `yaml:"verify"`  // what is checked after each weight
	OnFail  string `yaml:"on_fail"` // what happens when it is not so
}

// Verify is what the edge must show after each weight.
type Verify struct {
	ShareBelow   Percent  `yaml:"share_below"`   // of the traffic of the service; at weight 0 it is needed
	ShareAbove   Percent  `yaml:"share_above"`   // of the traffic of the service
	SuccessAbove Percent  `yaml:"success_above"` // of the answers there
	Within       Duration `yaml:"within"`        // as long as that is waited for
}

// Notify is one way to page people.
type Notify struct {
	Type         string      `yaml:"type"`          // how people are paged
	RoutingKey   core.Secret `yaml:"routing_key"`   // of a PagerDuty service, 32 characters
	URL          string      `yaml:"url"`           // of the Events API, or of a relay
	AllowPrivate bool        `yaml:"allow_private"` // the address is a relay in our own network
}

// Duration is written 800ms, 10s, 5m, 4h or 100d.
type Duration time.Duration

// durationRule and percentRule are the forms that the schema has too.
var (
	durationRule = regexp.MustCompile(`^\+?(0|[0-9]+d|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`)
	percentRule  = regexp.MustCompile(`^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)? *%$`)
)

func (d *Duration) decode(text string) error {
	if after, negative := strings.CutPrefix(text, "-"); negative && durationRule.MatchString(after) {
		return fmt.Errorf("%q is negative; write a duration of zero or more", text)
	}
	days, whole := strings.CutSuffix(text, "d")
	n, err := strconv.Atoi(days)
	if whole && err == nil && n >= 0 && n <= 36500 {
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil || !durationRule.MatchString(text) {
		return fmt.Errorf("%q is not a duration; write 800ms, 10s, 5m, 4h or 100d", text)
	}
	*d = Duration(v)
	return nil
}

// D is the duration as Go's own type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Percent is written 99.9% and means the fraction 0.999.
type Percent float64

func (p *Percent) decode(text string) error {
	f, err := strconv.ParseFloat(strings.TrimRight(text, " %"), 64)
	if err != nil || f > 1e6 || !percentRule.MatchString(text) {
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
