package config

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// shortestExpiryWatch is how often the ends of certificates are looked at: they move by days.
	shortestExpiryWatch = time.Minute
	maxPathProbes       = 8       // of a service at a site and one kind of path; health keeps no more of each agent
	maxAgentProbes      = 2000    // agents make no more
	maxAgentBytes       = 768_000 // agents read a little more
	maxCheckText        = 4 << 10 // of a text or a pattern to look for
	maxCheckPEM         = 64 << 10
	maxCheckList        = 32
)

var (
	statusRule = regexp.MustCompile(`^([1-5]xx|[1-5][0-9]{2}|[1-5][0-9]{2}-[1-5][0-9]{2})$`)
	// The types and codes of DNS that agents know under these names.
	typeRule = regexp.MustCompile(`(?i)^(A|AAAA|CAA|CNAME|DNSKEY|DS|HTTPS|MX|NAPTR|NS|PTR|SOA|SRV|SVCB|TLSA|TXT)$`)
	codeRule = regexp.MustCompile(`(?i)^(NOERROR|FORMERR|SERVFAIL|NXDOMAIN|NOTIMP|REFUSED)$`)
	nameInQ  = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
)

// secureScheme reports whether a certificate is seen at the address.
func secureScheme(address string) bool {
	scheme, _, _ := strings.Cut(address, "://")
	return slices.Contains([]string{"https", "tls", "grpcs"}, strings.ToLower(scheme))
}

// entry checks an address that agents probe, and what is expected there.
func (v *validator) entry(path string, e Entry) {
	u, ok := v.address(path, e)
	if !ok {
		return
	}
	kind, _ := core.ProbeKind(e.URL)
	v.placed(path, kind, secureScheme(e.URL), e)
	if kind == "dns" {
		v.dnsQuestion(path, u)
	}
	for i, s := range e.Status {
		if !statusRule.MatchString(s) || (len(s) == 7 && s[:3] > s[4:]) {
			v.bad(fmt.Sprintf("%s.status[%d]", path, i), "%q is no status; write 200, 2xx or 200-299", s)
		}
	}
	if _, err := regexp.Compile(e.BodyRegexp); err != nil {
		v.bad(path+".body_regexp", "%s; the syntax is that of RE2", err)
	}
	if e.Redirects != "" {
		v.oneOf(path+".redirects", e.Redirects, "answer", "follow", "refuse")
	}
	if e.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(e.CA)) {
		v.bad(path+".ca", "there is no certificate in PEM in it; write ca: ${file:ca.pem}")
	}
	if e.Rcode != "" && !codeRule.MatchString(e.Rcode) {
		v.bad(path+".rcode", "%q is not one of NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED", e.Rcode)
	}
	if slices.Contains(e.Answers, "") {
		v.bad(path+".answers", "an empty answer; write an address, a name or a text")
	}
	for _, limit := range []struct {
		key         string
		given, most int
	}{
		{"status", len(e.Status), maxCheckList},
		{"answers", len(e.Answers), maxCheckList},
		{"body", len(e.Body), maxCheckText},
		{"body_regexp", len(e.BodyRegexp), maxCheckText},
		{"ca", len(e.CA), maxCheckPEM},
		{"tls_name", len(e.TLSName), 253},
		{"alpn", len(e.ALPN), 255},
	} {
		if limit.given > limit.most {
			v.bad(path+"."+limit.key, "%d is over the limit of %d", limit.given, limit.most)
		}
	}
}

// address checks the address itself. It is not shown where it may hold a password.
func (v *validator) address(path string, e Entry) (*url.URL, bool) {
	if e.URL == "" {
		v.bad(path, "the url is missing; add url: https://host/path")
		return nil, false
	}
	u, err := url.Parse(e.URL)
	kind, known := core.ProbeKind(e.URL)
	switch {
	case err == nil && u.User != nil:
		v.bad(path, "the address holds a password; keep secrets out of addresses")
	case err != nil || !known || u.Hostname() == "":
		v.bad(path, "%q is not an address; write http://host:port/path or https://..., tcp://host:port, tls://host:port, "+
			"grpc://host:port/service or grpcs://..., dns://resolver/name?type=A", e.URL)
	case u.Port() == "" && (kind == "tcp" || kind == "tls" || kind == "grpc"):
		v.bad(path, "%q names no port; write %s://%s:port", e.URL, u.Scheme, u.Hostname())
	case u.Port() != "" && !validPort(u.Port()):
		v.bad(path, "%q: a port is a number from 1 to 65535", e.URL)
	default:
		return u, true
	}
	return nil, false
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// placed refuses what means nothing for the kind of address: it would be left out in silence.
func (v *validator) placed(path, kind string, secure bool, e Entry) {
	f := func(key string, given, fits bool, where string) {
		if given && !fits {
			v.bad(path+"."+key, "%s is for %s only; remove it, or change the address", key, where)
		}
	}
	f("status", len(e.Status) > 0, kind == "http", "http:// and https://")
	f("body", e.Body != "", kind == "http", "http:// and https://")
	f("body_regexp", e.BodyRegexp != "", kind == "http", "http:// and https://")
	f("redirects", e.Redirects != "", kind == "http", "http:// and https://")
	f("tls_name", e.TLSName != "", secure, "https://, tls:// and grpcs://")
	f("ca", e.CA != "", secure, "https://, tls:// and grpcs://")
	f("alpn", e.ALPN != "", kind == "tls", "tls://")
	f("rcode", e.Rcode != "", kind == "dns", "dns://")
	f("answers", len(e.Answers) > 0, kind == "dns", "dns://")
}

func (v *validator) dnsQuestion(path string, u *url.URL) {
	name := strings.TrimPrefix(u.Path, "/")
	query, err := url.ParseQuery(u.RawQuery)
	kind := query.Get("type")
	query.Del("type")
	if err != nil || len(name) > 253 || !nameInQ.MatchString(name) || len(query) > 0 || (kind != "" && !typeRule.MatchString(kind)) {
		v.bad(path, "%q asks for nothing; write dns://resolver/www.example.net?type=A with a name and a type as A, AAAA, CNAME, MX, NS, SRV or TXT", u)
	}
}

// probeLists checks the probes besides the entries.
func (v *validator) probeLists() {
	for i, s := range v.c.Sites {
		seen := map[string]bool{}
		for j, p := range s.Probes {
			list := fmt.Sprintf("sites[%d].probes", i)
			path := fmt.Sprintf("%s[%d]", list, j)
			v.name(list, p.Name, j, seen)
			if p.Path != pathPrivate {
				v.bad(path+".path", "%q: a probe of a whole site is private; users enter by a service, so declare it at that service", p.Path)
			}
			v.entry(path+".to", p.To)
			v.from(path, p.From, s.Name)
		}
	}
	for i, s := range v.c.Services {
		seen := map[string]bool{} // names that are taken: the entries' own, and those of whole sites
		for _, site := range v.c.Sites {
			for _, p := range site.Probes {
				seen[p.Name] = true
			}
		}
		for _, e := range s.Entries {
			kind, _ := core.ProbeKind(e.URL)
			seen[s.Name+"-"+kind] = true
		}
		for j := range s.Probes {
			v.serviceProbe(fmt.Sprintf("services[%d].probes", i), j, s, seen)
		}
	}
	v.amount()
}

func (v *validator) serviceProbe(list string, j int, s Service, seen map[string]bool) {
	p, path := s.Probes[j], fmt.Sprintf("%s[%d]", list, j)
	v.name(list, p.Name, j, seen)
	switch p.Path {
	case pathUser:
		if len(p.From) > 0 {
			v.bad(path+".from", "every location has a vote on the user path; remove from, or write path: private")
		}
	case pathPrivate:
		v.from(path, p.From, "")
	case "":
		v.bad(path, "the path is missing; write path: user when users fail as soon as this fails, path: private when it is news about a link only")
	default:
		v.oneOf(path+".path", p.Path, pathUser, pathPrivate)
	}
	if len(p.At) == 0 {
		v.bad(path, "no addresses: nothing can be probed; add at: {site: url}")
	}
	for _, site := range slices.Sorted(maps.Keys(p.At)) {
		at := path + ".at." + site
		v.known(at, "site", site, v.sites)
		v.entry(at, p.At[site])
		if _, ok := s.Entries[site]; !ok && v.sites[site] {
			v.bad(at, "service %q has no entry at %s: its probes there would be about nothing; add the entry, or remove this", s.Name, site)
		}
	}
}

func (v *validator) from(path string, from []string, target string) {
	for k, place := range from {
		at := fmt.Sprintf("%s.from[%d]", path, k)
		v.known(at, "site or witness", place, v.places)
		if place == target {
			v.bad(at, "%s has no private path to itself; remove it", place)
		}
	}
}

// amount checks that agents can hold what they are told.
func (v *validator) amount() {
	type group struct{ service, site, path string }
	groups, number, size := map[group]int{}, 0, 0
	count := func(service, site, path string, e Entry) {
		if groups[group{service, site, path}]++; groups[group{service, site, path}] == maxPathProbes+1 {
			v.bad("services", "more than %d %s probes of %s at %s, its site's included; keep those that users or links hang on",
				maxPathProbes, path, service, site)
		}
		number++
		raw, _ := json.Marshal(e.expect()) // texts only
		size += len(raw) + len(e.URL) + 512
	}
	for _, site := range v.c.Sites {
		for _, p := range site.Probes {
			count(core.AllServices, site.Name, p.Path, p.To)
		}
	}
	for _, s := range v.c.Services {
		for _, site := range v.c.Sites { // a probe of a site is kept with each of its services
			groups[group{s.Name, site.Name, pathPrivate}] = groups[group{core.AllServices, site.Name, pathPrivate}]
		}
		for _, site := range slices.Sorted(maps.Keys(s.Entries)) {
			count(s.Name, site, pathUser, s.Entries[site])
		}
		for _, p := range s.Probes {
			for _, site := range slices.Sorted(maps.Keys(p.At)) {
				count(s.Name, site, p.Path, p.At[site])
			}
		}
	}
	if number > maxAgentProbes || size > maxAgentBytes {
		v.bad("services", "an agent would have to make %d probes described in %d bytes; it can hold %d and %d: leave some out, or shorten their ca",
			number, size, maxAgentProbes, maxAgentBytes)
	}
}
