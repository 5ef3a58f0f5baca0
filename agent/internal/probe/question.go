package probe

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Question is one probe: whom to ask, and what counts as up. Make it with Ask.
type Question struct {
	Kind    string // a name in Catalogue
	URL     *url.URL
	Options Options

	status  []statusRange
	body    *regexp.Regexp
	roots   *x509.CertPool // nil: those of Via
	qname   string
	qtype   uint16
	rcode   int
	answers []string // as canonical writes them
}

// Options say what is expected beyond the obvious. Its JSON is what servers send; zero fields ask for nothing.
type Options struct {
	Status     []string `json:"status,omitempty"`      // of HTTP: 200, 2xx or 200-299; empty: 200-399
	Body       string   `json:"body,omitempty"`        // of HTTP: must stand in the first 64 KiB
	BodyRegexp string   `json:"body_regexp,omitempty"` // of HTTP: must match within the first 64 KiB, in RE2 syntax
	Redirects  string   `json:"redirects,omitempty"`   // of HTTP: answer (the default), follow or refuse
	TLSName    string   `json:"tls_name,omitempty"`    // the name the certificate must be for; empty: the host of the URL
	CA         string   `json:"ca,omitempty"`          // PEM; only what leads to these certificates is trusted
	ALPN       string   `json:"alpn,omitempty"`        // of TLS: the protocol that must be agreed on
	Rcode      string   `json:"rcode,omitempty"`       // of DNS: NOERROR (the default), NXDOMAIN, ...
	Answers    []string `json:"answers,omitempty"`     // of DNS: each must be among the answers
}

// What redirects may do.
const (
	redirectsAnswer = "answer" // a redirect is an answer like any other
	redirectsFollow = "follow" // to the same host only: another host would be another site
	redirectsRefuse = "refuse" // a redirect is a failure
)

const (
	maxText = 4 << 10  // of a text or a pattern to look for
	maxPEM  = 64 << 10 // of certificates
	maxList = 32       // entries of a list
)

// Empty reports whether nothing is asked for.
func (o Options) Empty() bool { return o.Equal(Options{}) }

// Equal reports whether both ask for the same.
func (o Options) Equal(p Options) bool {
	return slices.Equal(o.Status, p.Status) && slices.Equal(o.Answers, p.Answers) && o.Body == p.Body && o.BodyRegexp == p.BodyRegexp &&
		o.Redirects == p.Redirects && o.TLSName == p.TLSName && o.CA == p.CA && o.ALPN == p.ALPN && o.Rcode == p.Rcode
}

// KindOf is the kind of probe that the scheme of an address stands for; ok is false when it stands for none.
func KindOf(raw string) (kind string, ok bool) {
	scheme, _, _ := strings.Cut(raw, "://")
	switch strings.ToLower(scheme) {
	case "http", "https":
		return "http", true
	case "grpc", "grpcs":
		return "grpc", true
	case "tcp":
		return "tcp", true
	case "tls":
		return "tls", true
	case "dns":
		return "dns", true
	}
	return "", false
}

// Ask makes a question of an address: an http or https URL, tcp://host:port, tls://host:port, grpc:// or
// grpcs://host:port/service, dns://resolver:port/name?type=A. Errors say what would be right.
func Ask(kind, raw string, o Options) (Question, error) {
	if _, ok := Catalogue()[kind]; !ok {
		return Question{}, fmt.Errorf("probe kind %.32q is not one of %s", kind, strings.Join(Kinds(), ", "))
	}
	if kind == "tcp" && !strings.Contains(raw, "://") {
		raw = "tcp://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Question{}, errors.New("probe address is no URL") // the error would show it, and what stands in it
	}
	q := Question{Kind: kind, URL: u, Options: o}
	if err := q.address(); err != nil {
		return Question{}, err
	}
	if err := q.misplaced(); err != nil {
		return Question{}, err
	}
	return q, cmp.Or(q.readHTTP(), q.readTLS(), q.readDNS())
}

// Same reports whether both ask for the same. The zero question is the same as itself only.
func (q Question) Same(o Question) bool {
	if q.URL == nil || o.URL == nil {
		return q.URL == o.URL
	}
	return q.Kind == o.Kind && q.URL.String() == o.URL.String() && q.Options.Equal(o.Options)
}

// base is the kind without its suffix.
func (q *Question) base() string { return strings.TrimSuffix(q.Kind, "-expect") }

func (q *Question) encrypted() bool {
	return q.URL.Scheme == "https" || q.URL.Scheme == "tls" || q.URL.Scheme == "grpcs"
}

func (q *Question) address() error {
	u, shown := q.URL, q.URL.Redacted()
	kind, _ := KindOf(u.Scheme + "://")
	switch base := q.base(); {
	case kind != base && base == "http":
		return fmt.Errorf("probe address %q must start with http:// or https://", shown)
	case kind != base && base == "grpc":
		return fmt.Errorf("probe address %q must be grpc://host:port/service or grpcs://host:port/service", shown)
	case kind != base && base == "dns":
		return fmt.Errorf("probe address %q must be dns://resolver/name?type=A", shown)
	case kind != base:
		return fmt.Errorf("probe address %q must be %s://host:port", shown, base)
	case u.Hostname() == "":
		return fmt.Errorf("probe address %q names no host", shown)
	case u.Port() == "" && u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "dns":
		return fmt.Errorf("probe address %q names no port", shown)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("probe address %q: a port is a number from 1 to 65535", shown)
		}
	}
	return nil
}

// misplaced refuses options that mean nothing for the kind of probe: they would be left out in silence.
func (q *Question) misplaced() error {
	o, base := &q.Options, q.base()
	f := func(given bool, name string, fits bool, where string) error {
		if given && !fits {
			return fmt.Errorf("%s is for %s", name, where)
		}
		return nil
	}
	return cmp.Or(
		f(len(o.Status) > 0, "status", base == "http", "http:// and https:// only"),
		f(o.Body != "", "body", base == "http", "http:// and https:// only"),
		f(o.BodyRegexp != "", "body_regexp", base == "http", "http:// and https:// only"),
		f(o.Redirects != "", "redirects", base == "http", "http:// and https:// only"),
		f(o.TLSName != "", "tls_name", q.encrypted(), "https://, tls:// and grpcs:// only"),
		f(o.CA != "", "ca", q.encrypted(), "https://, tls:// and grpcs:// only"),
		f(o.ALPN != "", "alpn", base == "tls", "tls:// only"),
		f(o.Rcode != "", "rcode", base == "dns", "dns:// only"),
		f(len(o.Answers) > 0, "answers", base == "dns", "dns:// only"),
	)
}

func (q *Question) readHTTP() error {
	o := &q.Options
	if len(o.Status) > maxList || len(o.Body) > maxText || len(o.BodyRegexp) > maxText {
		return fmt.Errorf("status has at most %d entries, body and body_regexp at most %d bytes", maxList, maxText)
	}
	for _, text := range o.Status {
		r, err := parseStatus(text)
		if err != nil {
			return err
		}
		q.status = append(q.status, r)
	}
	if o.BodyRegexp != "" {
		var err error
		if q.body, err = regexp.Compile(o.BodyRegexp); err != nil {
			return fmt.Errorf("body_regexp: %w", err)
		}
	}
	if !slices.Contains([]string{"", redirectsAnswer, redirectsFollow, redirectsRefuse}, o.Redirects) {
		return fmt.Errorf("redirects %.32q is not answer, follow or refuse", o.Redirects)
	}
	return nil
}

func (q *Question) readTLS() error {
	o := &q.Options
	if len(o.TLSName) > 253 || len(o.ALPN) > 255 {
		return errors.New("tls_name or alpn is too long")
	}
	if o.CA == "" {
		return nil
	}
	q.roots = x509.NewCertPool()
	if len(o.CA) > maxPEM || !q.roots.AppendCertsFromPEM([]byte(o.CA)) {
		return fmt.Errorf("ca holds no certificate in PEM, or more than %d bytes", maxPEM)
	}
	return nil
}

func (q *Question) readDNS() error {
	if q.base() != "dns" {
		return nil
	}
	name := strings.TrimPrefix(q.URL.Path, "/")
	if _, ok := dns.IsDomainName(name); name == "" || !ok || strings.ContainsAny(name, "/ ") {
		return fmt.Errorf("probe address %q asks for no name; write dns://resolver/www.example.net?type=A", q.URL.Redacted())
	}
	q.qname = dns.Fqdn(name)
	query, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return errors.New("the address of a DNS probe has a query that cannot be read; write ?type=A")
	}
	for key := range query {
		if key != "type" {
			return fmt.Errorf("the address of a DNS probe knows ?type=A only, not %.32q", key)
		}
	}
	q.qtype = dns.TypeA
	if text := query.Get("type"); text != "" {
		var ok bool
		if q.qtype, ok = dns.StringToType[strings.ToUpper(text)]; !ok || q.qtype == dns.TypeANY || q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR {
			return fmt.Errorf("type %.32q is no type of DNS record that can be asked for; write A, AAAA, CNAME, MX, NS, TXT or SRV", text)
		}
	}
	q.rcode = dns.RcodeSuccess
	if text := q.Options.Rcode; text != "" {
		var ok bool
		if q.rcode, ok = dns.StringToRcode[strings.ToUpper(text)]; !ok {
			return fmt.Errorf("rcode %.32q is not known; write NOERROR, NXDOMAIN, SERVFAIL or REFUSED", text)
		}
	}
	if len(q.Options.Answers) > maxList {
		return fmt.Errorf("answers has more than %d entries", maxList)
	}
	for _, text := range q.Options.Answers {
		if text == "" || len(text) > maxText {
			return errors.New("answers holds an empty entry, or one that is too long")
		}
		q.answers = append(q.answers, canonical(text))
	}
	return nil
}

// canonical is one way to write an address or a name.
func canonical(text string) string {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.String()
	}
	return strings.TrimSuffix(strings.ToLower(text), ".")
}

// statusRange is inclusive.
type statusRange struct{ from, to int }

// parseStatus reads 200, 2xx or 200-299.
func parseStatus(text string) (statusRange, error) {
	wrong := fmt.Errorf("status %.32q is not a code from 100 to 599, nor written like 2xx or 200-299", text)
	from, to, isRange := strings.Cut(text, "-")
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		from, to, isRange = class+"00", class+"99", true
	}
	if !isRange {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
		return statusRange{}, wrong
	}
	return statusRange{int(a), int(b)}, nil
}

// accepts reports whether the status is one that was expected.
func (q *Question) accepts(status int) bool {
	if len(q.status) == 0 {
		return status >= 200 && status < 400
	}
	return slices.ContainsFunc(q.status, func(r statusRange) bool { return status >= r.from && status <= r.to })
}
