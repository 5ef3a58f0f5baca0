package layout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
)

// All stands for every site in a fault.
const All = "all"

// Kinds of faults. docs says of each what it does.
const (
	Kill        = "kill"
	KillService = "kill-service"
	EdgeDown    = "edge"
	Uplink      = "uplink"
	LinkDown    = "link"
	Slow        = "slow"
	Errors      = "errors"
	Pause       = "pause"
	Reload      = "reload"
	Restart     = "restart"
	Loss        = "loss"
	Lag         = "lag"
	Lying       = "lying"
)

// KindDoc says what a fault is for people who choose one.
type KindDoc struct {
	Kind, Usage, What string
	Everywhere        bool // the site may be all
}

// Kinds is the catalogue of faults, in the order in which help shows it.
func Kinds() []KindDoc {
	return []KindDoc{
		{Kill, "SITE|REPLICA kill", "the site dies: shop, NATS, agent and the replica there get SIGKILL; or only a replica", false},
		{KillService, "SITE kill-service", "the shop gets SIGKILL, the site lives", false},
		{EdgeDown, "SITE edge", "nobody from outside reaches the site's shop; inside it is alive", false},
		{Uplink, "SITE|all uplink", "the agent's telemetry reaches no server", true},
		{LinkDown, "A link B [--one-way]", "nothing between two sites: probes, orders, telemetry to the replica there (one-way: what A opens to B)", false},
		{Slow, "SITE|all slow [800ms]", "the shop takes longer; its health check five eighths of it", true},
		{Errors, "SITE|all errors [30]", "percent of users' requests answered 5xx; the health check tells its own truth", true},
		{Pause, "SITE|REPLICA pause [4]", "seconds in which shop, NATS, agent and the replica there are frozen (SIGSTOP, SIGCONT)", false},
		{Reload, "SITE|all reload", "the shop reloads (SIGHUP): listener down and up, no request lost by it", true},
		{Restart, "SITE|REPLICA|all restart", "graceful restart of the shop, or of a replica; all: the shops, one site after the other", true},
		{Loss, "SITE|all loss [5]", "percent of chunks lost on all paths of the site", true},
		{Lag, "SITE lag [ORDERS]", "the site stops applying the other sites' orders, or applies at most so many a second of each", false},
		{Lying, "SITE|all lying", "the executor says done about the site and does nothing", true},
	}
}

// Fault is one thing that is wrong, as it was asked for.
type Fault struct {
	ID     int           `json:"id"`
	Site   string        `json:"site"` // or a replica
	Kind   string        `json:"kind"`
	Peer   string        `json:"peer,omitempty"` // link: the other site
	OneWay bool          `json:"one_way,omitempty"`
	Amount float64       `json:"amount,omitempty"` // slow, pause: seconds; errors, loss: percent; lag: orders a second, 0 none
	For    time.Duration `json:"for_ns,omitempty"` // heals by itself after it; zero stays
}

// Passes reports whether the fault is an event rather than a state: nothing of it is left to heal.
func (f Fault) Passes() bool { return f.Kind == Reload || f.Kind == Restart }

// Parse reads SITE KIND [ARG] as on the command line. The errors say what would be right.
func (l Layout) Parse(args []string, oneWay bool, lasts time.Duration) (Fault, error) {
	if len(args) < 2 {
		return Fault{}, fmt.Errorf("a fault is SITE KIND [ARG], such as %s kill", l.Sites[0])
	}
	kinds := Kinds()
	find := func(kind string) int {
		return slices.IndexFunc(kinds, func(k KindDoc) bool { return k.Kind == kind })
	}
	f := Fault{Site: args[0], Kind: args[1], OneWay: oneWay, For: lasts}
	if find(f.Site) >= 0 && find(f.Kind) < 0 { // people also say: link fra ams
		f.Site, f.Kind = f.Kind, f.Site
	}
	i := find(f.Kind)
	if i < 0 {
		var names []string
		for _, k := range kinds {
			names = append(names, k.Kind)
		}
		return f, fmt.Errorf("fault %q is unknown: choose %s", f.Kind, strings.Join(names, ", "))
	}
	if err := l.place(f, kinds[i]); err != nil {
		return f, err
	}
	if oneWay && f.Kind != LinkDown {
		return f, fmt.Errorf("--one-way belongs to link, not to %s", f.Kind)
	}
	if lasts < 0 || lasts > 0 && f.Passes() {
		return f, fmt.Errorf("--for does not fit %s", f.Kind)
	}
	return f, f.argument(l, args[2:])
}

// place checks where the fault is.
func (l Layout) place(f Fault, doc KindDoc) error {
	if _, ok := l.Replica(f.Site); ok {
		if f.Kind == Kill || f.Kind == Pause || f.Kind == Restart {
			return nil
		}
		return fmt.Errorf("%s is a replica: choose kill, pause or restart", f.Site)
	}
	witnessToo := f.Kind == Uplink || f.Kind == LinkDown || f.Kind == Loss || f.Kind == Pause || f.Kind == Kill
	switch {
	case f.Site == All && doc.Everywhere, l.IsSite(f.Site):
		return nil
	case f.Site == All:
		return fmt.Errorf("%s is for one site, not for all", f.Kind)
	case l.IsVantage(f.Site) && witnessToo:
		return nil
	case l.IsVantage(f.Site):
		return fmt.Errorf("%s is a witness: it has no shop", f.Site)
	}
	return l.Unknown(f.Site)
}

// Unknown says which places there are in place of one that there is not.
func (l Layout) Unknown(place string) error {
	three := l
	three.Replicas = 3
	if _, ok := three.Replica(place); ok {
		return fmt.Errorf("this lab has one server and no replica %s: choose %s, or start one with three, `make run REPLICAS=3`",
			place, strings.Join(l.Places(), ", "))
	}
	return fmt.Errorf("%q is unknown: choose %s", place, strings.Join(l.Places(), ", "))
}

// argument reads what follows the kind.
func (f *Fault) argument(l Layout, rest []string) error {
	limit, amount := 0.0, ""
	switch f.Kind {
	case LinkDown:
		if len(rest) != 1 || !l.IsVantage(rest[0]) || rest[0] == f.Site {
			return fmt.Errorf("link needs one other site: %s", strings.Join(l.Vantages(), ", "))
		}
		f.Peer = rest[0]
		return nil
	case Slow:
		d := 800 * time.Millisecond
		if len(rest) == 1 {
			var err error
			if d, err = time.ParseDuration(rest[0]); err != nil || d <= 0 || d > time.Minute {
				return fmt.Errorf("slow needs a duration up to 1m, such as 800ms, not %q", rest[0])
			}
		}
		f.Amount = d.Seconds()
		return atMostOne(f.Kind, rest)
	case Errors:
		limit, amount = 100, "30"
	case Loss:
		limit, amount = 100, "5"
	case Pause:
		limit, amount = 3600, "4"
	case Lag:
		if len(rest) == 0 {
			return nil
		}
		limit = 10_000
	default:
		if len(rest) > 0 {
			return fmt.Errorf("%s takes no argument", f.Kind)
		}
		return nil
	}
	if len(rest) > 0 {
		amount = rest[0]
	}
	n, err := strconv.ParseFloat(amount, 64)
	if err != nil || !(n > 0 && n <= limit) {
		return fmt.Errorf("%s needs a number above 0, up to %g, not %q", f.Kind, limit, amount)
	}
	f.Amount = n
	if f.Kind == Pause {
		f.For = time.Duration(n * float64(time.Second))
	}
	return atMostOne(f.Kind, rest)
}

func atMostOne(kind string, rest []string) error {
	if len(rest) > 1 {
		return fmt.Errorf("%s takes one argument", kind)
	}
	return nil
}

// String is the fault as one would type it.
func (f Fault) String() string {
	s := f.Site + " " + f.Kind
	switch f.Kind {
	case LinkDown:
		s += " " + f.Peer
		if f.OneWay {
			s += " --one-way"
		}
	case Slow:
		s += " " + time.Duration(f.Amount*float64(time.Second)).String()
	case Lag:
		if f.Amount > 0 {
			s += fmt.Sprintf(" %g", f.Amount)
		}
	case Errors, Loss, Pause:
		s += fmt.Sprintf(" %g", f.Amount)
	}
	return s
}

// At reports whether the fault is at the site.
func (f Fault) At(site string) bool { return f.Site == site || f.Site == All }

// Concerns reports whether healing the site heals the fault.
func (f Fault) Concerns(site string) bool { return f.At(site) || f.Peer == site }

// Modes says what each cable does under the faults, by name. Every cable of the lab is in the answer.
func (l Layout) Modes(faults []Fault) map[string]proxy.Mode {
	out := map[string]proxy.Mode{}
	for _, e := range l.Edges() {
		var m proxy.Mode
		for _, f := range faults {
			m = merge(m, f.on(e))
		}
		out[e.Name()] = m
	}
	return out
}

// on is what one fault does to one cable.
func (f Fault) on(e Edge) proxy.Mode {
	switch f.Kind {
	case EdgeDown:
		if e.To == f.Site && (e.Kind == EdgeUsers || e.Kind == EdgeProbe) {
			return proxy.Mode{Kind: proxy.Cut}
		}
	case Uplink:
		if e.Kind == EdgeUplink && f.At(e.From) {
			return proxy.Mode{Kind: proxy.Cut}
		}
	case LinkDown:
		switch {
		case e.From == f.Site && e.end() == f.Peer && f.OneWay:
			return proxy.Mode{Kind: proxy.OneWay}
		case f.OneWay:
		case e.From == f.Site && e.end() == f.Peer, e.From == f.Peer && e.end() == f.Site:
			return proxy.Mode{Kind: proxy.Cut}
		}
	case Loss:
		if f.At(e.From) || f.At(e.end()) {
			return proxy.Mode{Loss: f.Amount / 100}
		}
	}
	return proxy.Mode{}
}

// merge puts two faults on one cable: the harder cut, the higher loss.
func merge(a, b proxy.Mode) proxy.Mode {
	if hardness(b.Kind) > hardness(a.Kind) {
		a.Kind = b.Kind
	}
	a.Loss = max(a.Loss, b.Loss)
	a.Delay = max(a.Delay, b.Delay)
	return a
}

func hardness(k proxy.Kind) int {
	switch k {
	case proxy.Cut:
		return 3
	case proxy.Refuse:
		return 2
	case proxy.OneWay:
		return 1
	case proxy.Pass:
	}
	return 0
}
