package core

import (
	"slices"
	"strings"
	"time"
)

// Topology is what the configuration says about the world and what may be done to it. It is never mutated;
// a reload makes a new one with a higher Revision.
type Topology struct {
	Revision   int64
	Lab        bool // hold floors do not apply
	Sites      []Site
	Witnesses  []string
	Services   []Service
	Probes     []Probe // besides the entries of the services
	Stores     []Store
	Policies   []Policy
	Plans      []Plan
	Guards     Guards
	Assertions []Assertion
	Freezes    []Freeze         // expanded by calendar over the coming days
	Changes    []DeclaredChange // that are under way or were lately
	Probe      ProbeTiming
	// ChancePerYear is how often a year the statistics of all subjects together may accuse one by chance. Zero means
	// DefaultChancePerYear.
	ChancePerYear float64
}

// DefaultChancePerYear is how often a year statistics may accuse somebody by chance, in the whole installation.
const DefaultChancePerYear = 1

// Site is one place that runs the full stack.
type Site struct {
	Name     string
	TimeZone string
	Region   string
	Pattern  string             // same-city, cross-region or global
	Capacity map[string]float64 // requests/s by service
}

// Service is a product served by several sites.
type Service struct {
	Name      string
	Survivors []string          // who may take the load; empty: every site
	Entries   map[string]string // user-path URL by site
	Expect    map[string]Expect // what an entry must show, by site; absent: nothing beyond the obvious
	Objective Objective
	MovesWith []string
}

// Probe is one question besides the entries. A user path that fails is users that fail; a private path that fails is
// news about a link only.
type Probe struct {
	Name       string
	TargetSite string
	Service    string // AllServices: of the whole site, which only a private path can be
	Path       string // user or private
	URL        string
	Expect     Expect
	From       []string // the locations that ask
}

// Expect is what an answer must show to count as up. Its JSON is what agents read; zero fields ask for nothing.
type Expect struct {
	Status     []string `json:"status,omitempty"`
	Body       string   `json:"body,omitempty"`
	BodyRegexp string   `json:"body_regexp,omitempty"`
	Redirects  string   `json:"redirects,omitempty"`
	TLSName    string   `json:"tls_name,omitempty"`
	CA         string   `json:"ca,omitempty"`
	ALPN       string   `json:"alpn,omitempty"`
	Rcode      string   `json:"rcode,omitempty"`
	Answers    []string `json:"answers,omitempty"`
}

// Empty reports whether nothing is asked for.
func (e Expect) Empty() bool {
	return len(e.Status) == 0 && len(e.Answers) == 0 &&
		e.Body+e.BodyRegexp+e.Redirects+e.TLSName+e.CA+e.ALPN+e.Rcode == ""
}

// ProbeKind is the kind of probe that the scheme of an address stands for; ok is false when it stands for none.
func ProbeKind(address string) (kind string, ok bool) {
	scheme, _, _ := strings.Cut(address, "://")
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
		return "http", true
	case "grpc", "grpcs":
		return "grpc", true
	case "tcp", "tls", "dns":
		return scheme, true
	}
	return "", false
}

// Objective is what users were promised. Zero fields promise nothing.
type Objective struct {
	LatencyP99 time.Duration
	Success    float64 // 0 to 1
}

// Store is a replicated data store.
type Store struct {
	Name       string
	Engine     string
	Controller string
	Fence      string
	Links      []Link
}

// Link is a directed replication edge.
type Link struct {
	From, To string
	RPO      time.Duration
}

// LinkName is the name of a link in labels: "<store>:<from>><to>".
func LinkName(store, from, to string) string { return store + ":" + from + ">" + to }

// ProbeTiming is how agents probe; zero fields take the defaults of DefaultProbeTiming.
type ProbeTiming struct {
	Interval time.Duration
	Deadline time.Duration
}

// DefaultProbeTiming is one probe a second with 800 ms to answer.
func DefaultProbeTiming() ProbeTiming {
	return ProbeTiming{Interval: time.Second, Deadline: 800 * time.Millisecond}
}

// Policy says when which plan is proposed, and in which mode.
type Policy struct {
	Name      string
	Condition Condition
	Classes   []Class
	Services  []string // empty: every service
	Hold      time.Duration
	Plan      string
	Mode      Mode
}

// PlanKind is what a plan does to its subject.
type PlanKind string

// Kinds of plans.
const (
	PlanDrain   PlanKind = "drain"
	PlanRestore PlanKind = "restore"
)

// Scope is what a plan moves away from a site.
type Scope string

// Scopes of a plan.
const (
	ScopeReads  Scope = "reads"
	ScopeWrites Scope = "writes"
)

// Plan is an ordered list of steps.
type Plan struct {
	Name  string
	Kind  PlanKind
	Moves Scope
	Steps []Step
}

// Step is one command to one target: bring the subject's weight to Weight percent of normal.
type Step struct {
	Target string
	Weight int // percent of normal, 0 to 100
	Verify VerifySpec
	OnFail string // stop, continue or rollback
}

// VerifySpec is what the edge must show after a step. Zero ShareBelow and zero ShareAbove ask for nothing of
// the share; zero SuccessAbove asks for nothing of the site's success.
type VerifySpec struct {
	ShareBelow   float64 `json:"share_below,omitempty"`   // 0 to 1
	ShareAbove   float64 `json:"share_above,omitempty"`   // 0 to 1
	SuccessAbove float64 `json:"success_above,omitempty"` // 0 to 1
	Within       Seconds `json:"within_s"`
}

// Seconds is a duration that is written as a number of seconds.
type Seconds float64

// Duration is the same as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// ToSeconds is the inverse of Seconds.Duration.
func ToSeconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Guards are the limits of the safety guards.
type Guards struct {
	MaxDrainedSites int
	MinServing      int
	Cooldown        time.Duration
	BudgetPerHour   int
	BudgetPerDay    int
	RetryFactor     float64       // pre-onset demand is multiplied by it for the capacity guard
	DrainExpiry     time.Duration // how long a drain stands before it pages
	NotAfter        time.Duration // how long a command may be delivered
	CloseAfter      time.Duration // how long healthy before an episode without an action closes
}

// Assertion is a rule over the state after an action: at least AtLeast of the sites must serve.
type Assertion struct {
	Name     string
	AtLeast  int
	Of       []string
	Inverted bool
}

// Freeze is one window, already expanded to an interval, in which actions of its scope are not allowed.
type Freeze struct {
	Name  string
	From  time.Time
	Until time.Time
	Scope []string // drills, restores, elective, emergency
}

// Site returns the named site.
func (t Topology) Site(name string) (Site, bool) {
	i := slices.IndexFunc(t.Sites, func(s Site) bool { return s.Name == name })
	if i < 0 {
		return Site{}, false
	}
	return t.Sites[i], true
}

// Service returns the named service.
func (t Topology) Service(name string) (Service, bool) {
	i := slices.IndexFunc(t.Services, func(s Service) bool { return s.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return t.Services[i], true
}

// Plan returns the named plan.
func (t Topology) Plan(name string) (Plan, bool) {
	i := slices.IndexFunc(t.Plans, func(p Plan) bool { return p.Name == name })
	if i < 0 {
		return Plan{}, false
	}
	return t.Plans[i], true
}

// Vantages are the names of all sites and witnesses, sites first, in configured order.
func (t Topology) Vantages() []string {
	out := make([]string, 0, len(t.Sites)+len(t.Witnesses))
	for _, s := range t.Sites {
		out = append(out, s.Name)
	}
	return append(out, t.Witnesses...)
}

// Serving are the names of the sites that have an entry for the service, in configured order.
func (t Topology) Serving(service string) []string {
	svc, ok := t.Service(service)
	if !ok {
		return nil
	}
	var out []string
	for _, s := range t.Sites {
		if _, ok := svc.Entries[s.Name]; ok {
			out = append(out, s.Name)
		}
	}
	return out
}
