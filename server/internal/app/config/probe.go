package config

import (
	"maps"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Entry is an address that is probed and what its answer must show. Written as one value it is the address alone.
type Entry struct {
	URL        string   `yaml:"url"`         // http, https, tcp, tls, grpc, grpcs or dns, as in https://host/path
	Status     []string `yaml:"status"`      // of HTTP: 200, 2xx or 200-299
	Body       string   `yaml:"body"`        // of HTTP: must stand in the first 64 KiB
	BodyRegexp string   `yaml:"body_regexp"` // of HTTP: must match there
	Redirects  string   `yaml:"redirects"`   // of HTTP: answer, follow or refuse
	TLSName    string   `yaml:"tls_name"`    // the name the certificate must be for, when it is not that of the URL
	CA         string   `yaml:"ca"`          // PEM: the certificates to trust in place of the system's
	ALPN       string   `yaml:"alpn"`        // of TLS: the protocol that must be agreed on
	Rcode      string   `yaml:"rcode"`       // of DNS
	Answers    []string `yaml:"answers"`     // of DNS: each must be among the answers
}

func (e *Entry) short(text string) { e.URL = text }

func (e Entry) expect() core.Expect {
	return core.Expect{
		Status: slices.Clone(e.Status), Body: e.Body, BodyRegexp: e.BodyRegexp, Redirects: e.Redirects, TLSName: e.TLSName,
		CA: e.CA, ALPN: e.ALPN, Rcode: e.Rcode, Answers: slices.Clone(e.Answers),
	}
}

// ServiceProbe is a further question about a service, with an address for each site that is asked.
type ServiceProbe struct {
	Name string           `yaml:"name"` // its name
	Path string           `yaml:"path"` // user: users fail when it fails; private: it is news about a link only
	At   map[string]Entry `yaml:"at"`   // the address at each site that is asked
	From []string         `yaml:"from"` // of a private path: the locations that have it; empty: every other site
}

// SiteProbe is a question about a whole site over a private path.
type SiteProbe struct {
	Name string   `yaml:"name"` // its name
	Path string   `yaml:"path"` // private, which it is without a word
	To   Entry    `yaml:"to"`   // the address that is asked
	From []string `yaml:"from"` // the locations that have the path; empty: every other site
}

const (
	pathUser    = "user"
	pathPrivate = "private"
	// expiryWatch is the name of the watch over the ends of certificates.
	expiryWatch = "tls-expiry"
)

// fillProbes gives probes their defaults, and certificates their watch where one is probed.
func (c *Config) fillProbes() {
	for i := range c.Sites {
		for j := range c.Sites[i].Probes {
			orDefault(&c.Sites[i].Probes[j].Path, pathPrivate)
		}
	}
	if c.Probes.TLSExpiry == 0 || !c.encrypted() {
		return
	}
	w := Watch{
		Name: expiryWatch, Query: `min by (target_site, service) (evenkeel_probe_tls_expiry_seconds)`, About: "target_site",
		Every: Duration(shortestExpiryWatch), Model: "threshold", Direction: "below", Threshold: new(c.Probes.TLSExpiry.D().Seconds()),
		Class: core.ClassCause.String(), implied: true,
	}
	if i := slices.IndexFunc(c.Watches, func(own Watch) bool { return own.Name == w.Name }); i >= 0 {
		c.Watches[i].inherit(w)
		return
	}
	c.Watches = append(c.Watches, w)
}

// encrypted reports whether any probe sees a certificate.
func (c *Config) encrypted() bool {
	found := false
	c.eachEntry(func(e Entry) { found = found || secureScheme(e.URL) })
	return found
}

func (c *Config) eachEntry(f func(Entry)) {
	for _, s := range c.Sites {
		for _, p := range s.Probes {
			f(p.To)
		}
	}
	for _, s := range c.Services {
		for _, e := range s.Entries {
			f(e)
		}
		for _, p := range s.Probes {
			for _, e := range p.At {
				f(e)
			}
		}
	}
}

func urls(entries map[string]Entry) map[string]string {
	out := make(map[string]string, len(entries))
	for site, e := range entries {
		out[site] = e.URL
	}
	return out
}

func expectations(entries map[string]Entry) map[string]core.Expect {
	out := map[string]core.Expect{}
	for site, e := range entries {
		if expect := e.expect(); !expect.Empty() {
			out[site] = expect
		}
	}
	return out
}

// probes are the questions besides the entries, in configured order.
func (c Config) probes() []core.Probe {
	var sites, all []string
	for _, s := range c.Sites {
		sites, all = append(sites, s.Name), append(all, s.Name)
	}
	for _, w := range c.Witnesses {
		all = append(all, w.Name)
	}
	others := func(from []string, target string) []string {
		if len(from) == 0 {
			from = sites
		}
		return slices.DeleteFunc(slices.Clone(from), func(site string) bool { return site == target })
	}
	var out []core.Probe
	for _, s := range c.Sites {
		for _, p := range s.Probes {
			out = append(out, core.Probe{
				Name: p.Name, TargetSite: s.Name, Service: core.AllServices, Path: p.Path, URL: p.To.URL, Expect: p.To.expect(),
				From: others(p.From, s.Name),
			})
		}
	}
	for _, s := range c.Services {
		for _, p := range s.Probes {
			for _, site := range slices.Sorted(maps.Keys(p.At)) {
				from := all
				if p.Path == pathPrivate {
					from = others(p.From, site)
				}
				out = append(out, core.Probe{
					Name: p.Name, TargetSite: site, Service: s.Name, Path: p.Path, URL: p.At[site].URL, Expect: p.At[site].expect(),
					From: slices.Clone(from),
				})
			}
		}
	}
	return out
}

// MarshalYAML writes an address that expects nothing as one value, else what is given.
func (e Entry) MarshalYAML() (any, error) {
	if e.expect().Empty() {
		return e.URL, nil
	}
	out := map[string]any{"url": e.URL}
	for key, text := range map[string]string{
		"body": e.Body, "body_regexp": e.BodyRegexp, "redirects": e.Redirects, "tls_name": e.TLSName, "ca": e.CA, "alpn": e.ALPN, "rcode": e.Rcode,
	} {
		if text != "" {
			out[key] = text
		}
	}
	for key, list := range map[string][]string{"status": e.Status, "answers": e.Answers} {
		if len(list) > 0 {
			out[key] = list
		}
	}
	return out, nil
}
