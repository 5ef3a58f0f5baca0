package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// SpecialTime is a time that is not like others, such as a public holiday or a sale: watches do not learn from it.
type SpecialTime struct {
	Name     string   `yaml:"name"`                // its name, which sentences call it by
	Cron     string   `yaml:"cron,omitempty"`      // when it begins each time: minute hour day month weekday
	Dates    []string `yaml:"dates,omitempty"`     // in place of cron: the days on which it begins, as in 2027-03-29 or "2027-03-29 18:00"
	Lasts    Duration `yaml:"lasts"`               // for how long
	TimeZone string   `yaml:"time_zone,omitempty"` // of cron and dates; empty: that of each site
	Sites    []string `yaml:"sites,omitempty"`     // where it is; empty: everywhere
	Services []string `yaml:"services,omitempty"`  // of what; empty: of whole sites
	Watches  []string `yaml:"watches,omitempty"`   // that it matters to; empty: all that know a series from its past
	Like     string   `yaml:"like,omitempty"`      // of model seasonal: the weekday that it resembles; empty: judged by the recent past
	Judged   bool     `yaml:"judged,omitempty"`    // other models judge it too, without learning from it
}

// A SpecialWindow is when a special time is at one site, and what it is there.
type SpecialWindow struct {
	calendar.Window
	Mark detect.Mark // without its times
}

// SpecialWindows are the special times of each site and witness, in the civil time that they go by.
func (c Config) SpecialWindows() []SpecialWindow {
	var out []SpecialWindow
	for _, s := range c.SpecialTimes {
		mark := detect.Mark{
			Kind: detect.MarkSpecial, What: s.Name, Watches: slices.Clone(s.Watches), Like: detect.Weekday(s.Like), Judged: s.Judged,
		}
		at := func(site, zone string) {
			if len(s.Sites) > 0 && !slices.Contains(s.Sites, site) {
				return
			}
			w := s.window()
			w.Zone = cmp.Or(w.Zone, zone)
			services := s.Services
			if len(services) == 0 {
				services = []string{core.AllServices}
			}
			for _, service := range services {
				mark.Subject = core.Subject{Site: site, Service: service}
				out = append(out, SpecialWindow{w, mark})
			}
		}
		for _, site := range c.Sites {
			at(site.Name, site.TimeZone)
		}
		for _, w := range c.Witnesses {
			at(w.Name, "UTC")
		}
	}
	return out
}

func (s SpecialTime) window() calendar.Window {
	return calendar.Window{Name: s.Name, Cron: s.Cron, Dates: slices.Clone(s.Dates), Lasts: s.Lasts.D(), Zone: s.TimeZone}
}

func (v *validator) specialTimes() {
	watches := map[string]bool{}
	for _, w := range v.c.Watches {
		watches[w.Name] = true
	}
	seen := map[string]bool{}
	for i, s := range v.c.SpecialTimes {
		path := fmt.Sprintf("special_times[%d]", i)
		v.name("special_times", s.Name, i, seen)
		v.window(path, s.window())
		for j, site := range s.Sites {
			v.known(fmt.Sprintf("%s.sites[%d]", path, j), "site", site, v.places)
		}
		for j, service := range s.Services {
			v.known(fmt.Sprintf("%s.services[%d]", path, j), "service", service, v.services)
		}
		if s.Like != "" {
			v.oneOf(path+".like", s.Like, weekdays()...)
		}
		seasonal := len(s.Watches) == 0
		for j, name := range s.Watches {
			at := fmt.Sprintf("%s.watches[%d]", path, j)
			v.known(at, "watch", name, watches)
			if n := slices.IndexFunc(v.c.Watches, func(w Watch) bool { return w.Name == name }); n >= 0 {
				model := detect.Model(v.c.Watches[n].Model)
				seasonal = seasonal || model == detect.ModelSeasonal
				if !detect.KnowsSpecial(model) {
					v.bad(at, "model %s of this watch compares nothing with the past, and a special time is nothing to it; leave it out", model)
				}
			}
		}
		if s.Like != "" && !seasonal {
			v.bad(path+".like", "only model seasonal knows weekdays, and none of these watches has it; leave it out, or give one of them model: seasonal")
		}
	}
}

func weekdays() []string {
	return []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
}
