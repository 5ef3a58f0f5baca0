package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// replicaList checks the servers that decide together: three or five of them, each in another place.
func (v *validator) replicaList() {
	switch n := len(v.c.Replicas); n {
	case 0, 3, 5:
	default:
		v.bad("replicas", "%d replicas are no number that helps: write three, which bear the loss of one, or five, which bear two; without any one server is alone", n)
	}
	seen, peers, places, urls := map[string]bool{}, map[string]string{}, map[string]string{}, map[string]string{}
	for i, r := range v.c.Replicas {
		path := fmt.Sprintf("replicas[%d]", i)
		v.name("replicas", r.Name, i, seen)
		if r.At == "" {
			v.bad(path, "at is missing; say where it stands: a site, a witness, or any other name")
		} else if other, taken := places[r.At]; taken && !v.c.Lab {
			v.bad(path+".at", "%s and %s both stand at %s and would be lost together; put each in another place, or mark the file lab: true", other, r.Name, r.At)
		}
		places[r.At] = r.Name
		if r.URL != "" {
			v.url(path+".url", r.URL)
			if other, taken := urls[r.URL]; taken {
				v.bad(path+".url", "%s and %s cannot both be asked at %s; give each the address of its own, not that of a balancer", other, r.Name, r.URL)
			}
			urls[r.URL] = r.Name
		}
		if len(v.c.Ledger.Endpoints) > 0 {
			if r.Peer != "" || r.Listen != "" {
				v.bad(path, "peer and listen are of no use with ledger.endpoints; remove them")
			}
			continue
		}
		v.peer(path, r)
		if other, taken := peers[r.Peer]; taken && r.Peer != "" {
			v.bad(path+".peer", "%s and %s cannot both be reached at %s", other, r.Name, r.Peer)
		}
		peers[r.Peer] = r.Name
	}
	v.ledger()
}

func (v *validator) peer(path string, r Replica) {
	u, err := url.Parse(r.Peer)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || !isPort(u.Port()) || strings.Trim(u.Path, "/") != "" || u.User != nil {
		v.bad(path+".peer", "%q is no address of a replica; write https://host:port, as in https://10.0.0.4:8452", r.Peer)
	}
	if r.Listen != "" {
		if _, port, err := net.SplitHostPort(r.Listen); err != nil || !isPort(port) {
			v.bad(path+".listen", "%q is no address to listen on; write host:port, as in 0.0.0.0:8452", r.Listen)
		}
	}
}

// isPort reports whether text is a number that a port can have.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func (v *validator) ledger() {
	l := v.c.Ledger
	v.oneOf("ledger.pattern", l.Pattern, "same-city", "cross-region", "global")
	if given := l.TLS; given != (TLS{}) && (given.CA == "" || given.Cert == "" || given.Key == "") {
		v.bad("ledger.tls", "ca, cert and key go together; give all three files, or none to use the ledger's own authority")
	}
	if len(v.c.Replicas) == 0 && (l.TLS != (TLS{}) || len(l.Endpoints) > 0) {
		v.bad("ledger", "tls and endpoints are for several servers; declare them under replicas:")
	}
	for i, e := range l.Endpoints {
		v.url(fmt.Sprintf("ledger.endpoints[%d]", i), e)
	}
	s := v.c.Storage
	switch {
	case s.URL != "" && (s.Insert != "" || s.Select != ""):
		v.bad("storage", "url is a single node, insert and select are a cluster; keep one of them")
	case (s.Insert == "") != (s.Select == ""):
		v.bad("storage", "insert and select go together: the addresses of vminsert and vmselect")
	case s.Tenant != "" && s.Insert == "":
		v.bad("storage.tenant", "tenants are of a cluster; give insert and select, or remove it")
	}
	for key, address := range map[string]string{"storage.insert": s.Insert, "storage.select": s.Select} {
		if address != "" {
			v.url(key, address)
		}
	}
	if s.ShareDetectors && s.URL == "" && s.Insert == "" {
		v.bad("storage.share_detectors", "each replica has a store of its own here and cannot read what another wrote; give url, or insert and select")
	}
	if s.ShareDetectors && len(v.c.Replicas) == 0 {
		v.bad("storage.share_detectors", "one server has nobody to share with; declare replicas, or remove it")
	}
}
