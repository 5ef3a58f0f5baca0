package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// validate checks what the types cannot: names, references, and the floors that keep automatic actions safe.
func (c *Config) validate(d *decoder) {
	v := &validator{c: c, d: d, sites: map[string]bool{}, places: map[string]bool{}, services: map[string]bool{}, targets: map[string]bool{}}
	v.locations()
	v.replicaList()
	v.serviceList()
	v.probeLists()
	v.storeList()
	v.timing()
	v.watchList()
	v.targetList()
	v.planList()
	v.policyList()
	v.guards()
	v.windows()
	v.specialTimes()
	v.notifyList()
}

type validator struct {
	c        *Config
	d        *decoder
	sites    map[string]bool
	places   map[string]bool // sites and witnesses
	services map[string]bool
	targets  map[string]bool
}

func (v *validator) bad(path, format string, args ...any) { v.d.addAt(path, format, args...) }

// name checks form and uniqueness of one entry's name.
func (v *validator) name(list, name string, i int, seen map[string]bool) {
	v.nameAt(fmt.Sprintf("%s[%d]", list, i), name, seen)
}

// nameAt is name for the entry at a path.
func (v *validator) nameAt(entry, name string, seen map[string]bool) {
	path := entry + ".name"
	switch {
	case name == "":
		v.bad(entry, "the name is missing; add name: ...")
	case !nameRule.MatchString(name):
		v.bad(path, "%q is not a name; use lower-case letters, digits and - (at most 63)", name)
	case seen[name]:
		v.bad(path, "%q stands twice; names are unique", name)
	}
	seen[name] = true
}

// known checks a reference.
func (v *validator) known(path, kind, name string, set map[string]bool) {
	if set[name] {
		return
	}
	names := slices.Sorted(maps.Keys(set))
	hint := "declare it, or use one of: " + strings.Join(names, ", ")
	if near := nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	v.bad(path, "%s %q is not declared; %s", kind, name, hint)
}

func (v *validator) oneOf(path, value string, options ...string) {
	if !slices.Contains(options, value) {
		v.bad(path, "%q is not one of %s", value, strings.Join(options, ", "))
	}
}

func (v *validator) url(path, value string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		v.bad(path, "%q is not an address; write http://host:port/path or https://...", value)
		return
	}
	if u.User != nil {
		v.bad(path, "the address holds a password; keep secrets out of addresses")
	}
}

func (v *validator) locations() {
	for i, s := range v.c.Sites {
		v.name("sites", s.Name, i, v.places)
		v.sites[s.Name] = true
		if _, err := time.LoadLocation(s.TimeZone); err != nil {
			v.bad(fmt.Sprintf("sites[%d].time_zone", i), "%q is not a time zone; use a name as in Europe/Berlin", s.TimeZone)
		}
		v.oneOf(fmt.Sprintf("sites[%d].pattern", i), s.Pattern, "same-city", "cross-region", "global")
	}
	for i, w := range v.c.Witnesses {
		v.name("witnesses", w.Name, i, v.places)
	}
	if v.c.Server.URL != "" {
		v.url("server.url", v.c.Server.URL)
	}
}

func (v *validator) serviceList() {
	for i, s := range v.c.Services {
		v.name("services", s.Name, i, v.services)
		if s.Name == core.AllServices {
			v.bad(fmt.Sprintf("services[%d].name", i), `"all" means every service; choose another name`)
		}
		if len(s.Entries) == 0 {
			v.bad(fmt.Sprintf("services[%d]", i), "no entries: without a user-path address per site nothing can be probed; add entries: {site: url}")
		}
		for _, site := range slices.Sorted(maps.Keys(s.Entries)) {
			path := fmt.Sprintf("services[%d].entries.%s", i, site)
			v.known(path, "site", site, v.sites)
			v.entry(path, s.Entries[site])
		}
		for j, site := range s.Survivors {
			v.known(fmt.Sprintf("services[%d].survivors[%d]", i, j), "site", site, v.sites)
		}
		v.percent(fmt.Sprintf("services[%d].objective.success", i), s.Objective.Success)
	}
	for i, s := range v.c.Services {
		for j, other := range s.MovesWith {
			path := fmt.Sprintf("services[%d].moves_with[%d]", i, j)
			v.known(path, "service", other, v.services)
			v.sameSites(path, s, other)
		}
	}
	for i, s := range v.c.Sites {
		for _, service := range slices.Sorted(maps.Keys(s.Capacity)) {
			path := fmt.Sprintf("sites[%d].capacity.%s", i, service)
			v.known(path, "service", service, v.services)
			if s.Capacity[service] <= 0 {
				v.bad(path, "a capacity is a number of requests/s above zero")
			}
		}
	}
}

// sameSites checks that two services that move together can: where only one of them is, it would move alone.
func (v *validator) sameSites(path string, s Service, other string) {
	sites := func(s Service) []string { return slices.Sorted(maps.Keys(s.Entries)) }
	for _, peer := range v.c.Services {
		if peer.Name == other && !slices.Equal(sites(s), sites(peer)) {
			v.bad(path, "%s is at %s and %s at %s; services that move together need entries at the same sites",
				other, strings.Join(sites(peer), ", "), s.Name, strings.Join(sites(s), ", "))
		}
	}
}

// percent checks a part of a whole.
func (v *validator) percent(path string, p Percent) {
	if p > 1 {
		v.bad(path, "%g%% is more than the whole; write at most 100%%", float64(p)*100)
	}
}

func (v *validator) storeList() {
	seen := map[string]bool{}
	for i, s := range v.c.Stores {
		v.name("stores", s.Name, i, seen)
		if s.Controller != "" {
			v.oneOf(fmt.Sprintf("stores[%d].controller", i), s.Controller, "patroni", "orchestrator", "repmgr", "managed", "none")
		}
		if s.Fence != "" {
			v.oneOf(fmt.Sprintf("stores[%d].fence", i), s.Fence, "none", "power", "storage", "network", "lease", "db-native")
		}
		linked := map[string]bool{}
		for j, l := range s.Links {
			path := fmt.Sprintf("stores[%d].links[%d]", i, j)
			v.known(path+".from", "site", l.From, v.places)
			v.known(path+".to", "site", l.To, v.places)
			if l.From == l.To {
				v.bad(path, "a link from a site to itself")
			}
			if k := l.From + ">" + l.To; linked[k] {
				v.bad(path, "the link from %s to %s is there already; keep one", l.From, l.To)
			} else {
				linked[k] = true
			}
		}
	}
}

func (v *validator) timing() {
	p := v.c.Probes
	if p.Interval.D() < 500*time.Millisecond || p.Interval.D() > time.Minute {
		v.bad("probes.interval", "%s is outside 500ms to 1m", p.Interval.D())
	}
	if p.Deadline.D() <= 0 || p.Deadline >= p.Interval {
		v.bad("probes.deadline", "%s is not below the interval of %s", p.Deadline.D(), p.Interval.D())
	}
	if r := v.c.Storage.Retention.D(); r < 24*time.Hour {
		v.bad("storage.retention", "%s is less than a day", r)
	}
	if v.c.Storage.URL != "" {
		v.url("storage.url", v.c.Storage.URL)
	}
}

func (v *validator) planList() {
	for _, name := range slices.Sorted(maps.Keys(v.c.Plans)) {
		path := "plans." + name
		if !nameRule.MatchString(name) {
			v.bad(path, "%q is not a name; use lower-case letters, digits and -", name)
		}
		steps := v.c.Plans[name]
		if len(steps) == 0 {
			v.bad(path, "a plan without steps; add - {target: ..., weights: [0]}")
			continue
		}
		last := -1
		for i, s := range steps {
			last = v.planStep(fmt.Sprintf("%s[%d]", path, i), s, last)
		}
		if last > 0 && last < 100 {
			v.bad(path, "the plan ends at weight %d; a drain ends at 0, a restore at 100", last)
		} else if last >= 0 {
			v.planEnds(path, steps, last)
		}
	}
}

// planStep checks one step and returns the last weight so far.
func (v *validator) planStep(at string, s PlanStep, last int) int {
	v.known(at+".target", "target", s.Target, v.targets)
	v.oneOf(at+".on_fail", s.OnFail, "stop", "continue", "rollback")
	if len(s.Weights) == 0 {
		v.bad(at, "a step without weights; add weights: [0] (percent of normal)")
	}
	for j, w := range s.Weights {
		if w < 0 || w > 100 {
			v.bad(fmt.Sprintf("%s.weights[%d]", at, j), "%d is outside 0 to 100 (percent of normal)", w)
		}
		last = w
	}
	if s.Verify.ShareBelow == 0 && last == 0 {
		v.bad(at+".verify", "a step to weight 0 needs verify: {share_below: 1%%, within: 30s}: an action nobody verified is not done")
	}
	v.percent(at+".verify.share_below", s.Verify.ShareBelow)
	v.percent(at+".verify.share_above", s.Verify.ShareAbove)
	v.percent(at+".verify.success_above", s.Verify.SuccessAbove)
	return last
}

// planEnds checks that no target is left on the way: the record would say drained, or active, of all of them.
func (v *validator) planEnds(path string, steps []PlanStep, end int) {
	ends := map[string]int{} // place of a target's last step
	for i, s := range steps {
		if len(s.Weights) > 0 {
			ends[s.Target] = i
		}
	}
	for _, target := range slices.Sorted(maps.Keys(ends)) {
		i := ends[target]
		if w := steps[i].Weights[len(steps[i].Weights)-1]; w != end {
			v.bad(fmt.Sprintf("%s[%d].weights", path, i), "target %q is left at %d while the plan ends at %d; end it at %d, or give it a plan of its own",
				target, w, end, end)
		}
	}
}

func (v *validator) guards() {
	if x := v.c.Statistics.ChancePerYear; !(x >= 0.01 && x <= 365) {
		v.bad("statistics.chance_per_year", "%v is outside 0.01 to 365: so often a year statistics may accuse somebody by chance; use 1, or leave it out", x)
	}
	g := v.c.Guards
	atLeast := func(path string, n, least int) {
		if n < least {
			v.bad("guards."+path, "%d is below %d", n, least)
		}
	}
	atLeast("max_drained_sites", g.MaxDrainedSites, 0)
	atLeast("min_serving", g.MinServing, 1)
	if n := len(v.c.Sites); n > 0 && g.MinServing > n {
		v.bad("guards.min_serving", "%d is more than the number of sites, %d: nothing could ever be drained", g.MinServing, n)
	}
	atLeast("budget.per_hour", g.Budget.PerHour, 0)
	atLeast("budget.per_day", g.Budget.PerDay, 0)
	if g.RetryFactor < 1 {
		v.bad("guards.retry_factor", "%g is below 1: retries never make demand smaller", g.RetryFactor)
	}
	if g.NotAfter.D() < 5*time.Second || g.NotAfter.D() > 10*time.Minute {
		v.bad("guards.not_after", "%s is outside 5s to 10m: a command must not be delivered late", g.NotAfter.D())
	}
	if g.DrainExpiry.D() > 72*time.Hour || g.DrainExpiry.D() < time.Minute {
		v.bad("guards.drain_expiry", "%s is outside 1m to 3d", g.DrainExpiry.D())
	}
	if !v.c.Lab && g.Cooldown.D() < time.Minute {
		v.bad("guards.cooldown", "%s is below the floor of 1m; only a file with lab: true may go lower", g.Cooldown.D())
	}
	seen := map[string]bool{}
	for i, a := range v.c.Assertions {
		path := fmt.Sprintf("assertions[%d]", i)
		v.name("assertions", a.Name, i, seen)
		for j, s := range a.Of {
			v.known(fmt.Sprintf("%s.of[%d]", path, j), "site", s, v.sites)
		}
		of := len(slices.Compact(slices.Sorted(slices.Values(a.Of))))
		switch {
		case a.AtLeast < 0 || a.AtLeast > of:
			v.bad(path+".at_least", "%d is outside 0 to %d, the number of sites named", a.AtLeast, of)
		case a.Inverted && a.AtLeast == 0:
			v.bad(path, "inverted with at_least 0 can never hold: there are always 0 or more; give at_least a number above 0")
		}
		if a.Wait != 0 {
			v.bad(path+".wait", "waits are not in this version; write 0s or leave it out")
		}
	}
}

func (v *validator) windows() {
	seen := map[string]bool{}
	for i, f := range v.c.Freezes {
		path := fmt.Sprintf("freezes[%d]", i)
		v.name("freezes", f.Name, i, seen)
		v.window(path, f.Window())
		for j, s := range f.Scope {
			v.oneOf(fmt.Sprintf("%s.scope[%d]", path, j), s, "drills", "restores", "elective", "emergency")
		}
	}
}

// window lets calendar read a window, and puts what it says where the field stands.
func (v *validator) window(path string, w calendar.Window) {
	_, err := calendar.Parse(w)
	if wrong, ok := errors.AsType[*calendar.Error](err); ok {
		v.bad(path+"."+wrong.Field, "%q %s; %s", wrong.Value, wrong.Why, wrong.Want)
	} else if err != nil {
		v.bad(path, "%s", err)
	}
}
