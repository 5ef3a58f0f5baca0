package core

import (
	"cmp"
	"strings"
)

// AllServices is the Service of a subject that is a whole site.
const AllServices = "all"

// Subject is what evidence, conditions, episodes, locks, plans and actions are about. Unit is a keyed
// partition of users; empty means all of them.
type Subject struct {
	Site    string `json:"site"`
	Service string `json:"service"`
	Unit    string `json:"unit,omitempty"`
}

// WholeSite reports whether the subject is a site with everything on it.
func (s Subject) WholeSite() bool { return s.Service == AllServices || s.Service == "" }

// String is how a person says it: "checkout at fra", or "fra" for the whole site.
func (s Subject) String() string {
	if s.WholeSite() {
		return s.Site
	}
	out := s.Service + " at " + s.Site
	if s.Unit != "" {
		out += " (" + s.Unit + ")"
	}
	return out
}

// Covers reports whether o is the subject or a service of it; units are not told apart.
func (s Subject) Covers(o Subject) bool {
	return s.Site == o.Site && (s.WholeSite() || s.Service == o.Service)
}

// Overlaps reports whether one of the two covers the other.
func (s Subject) Overlaps(o Subject) bool { return s.Covers(o) || o.Covers(s) }

// Key is a stable text form: site/service or site/service/unit.
func (s Subject) Key() string {
	parts := []string{s.Site, s.Service}
	if s.Unit != "" {
		parts = append(parts, s.Unit)
	}
	return strings.Join(parts, "/")
}

// Compare orders subjects by site, service and unit.
func (s Subject) Compare(o Subject) int {
	return cmp.Or(cmp.Compare(s.Site, o.Site), cmp.Compare(s.Service, o.Service), cmp.Compare(s.Unit, o.Unit))
}
