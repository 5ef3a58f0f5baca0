package mysql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// gtid is the newest transaction of one MariaDB replication domain. Numbers grow within a domain, over all its servers.
type gtid struct {
	server uint32
	seq    uint64
}

// gtidPos is a MariaDB position: one gtid a domain.
type gtidPos map[uint32]gtid

// parseGTIDPos reads domain-server-sequence triples, as in gtid_slave_pos. The empty text is the empty position.
func parseGTIDPos(text string) (gtidPos, error) {
	pos := gtidPos{}
	if strings.TrimSpace(text) == "" {
		return pos, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		parts := strings.Split(strings.TrimSpace(one), "-")
		if len(parts) != 3 {
			return nil, fmt.Errorf("gtid %.40q is not domain-server-sequence", one)
		}
		domain, err := strconv.ParseUint(parts[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("gtid %.40q: domain: %w", one, err)
		}
		server, err := strconv.ParseUint(parts[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("gtid %.40q: server: %w", one, err)
		}
		seq, err := strconv.ParseUint(parts[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("gtid %.40q: sequence: %w", one, err)
		}
		if _, twice := pos[uint32(domain)]; twice {
			return nil, fmt.Errorf("gtid position names domain %d twice", domain)
		}
		pos[uint32(domain)] = gtid{uint32(server), seq}
	}
	return pos, nil
}

// behind is how many sequence numbers of other, domain by domain, p has not reached. Transactions that began at the
// server own are no part of it: they are not applied a second time when they come back around a ring.
func (p gtidPos) behind(other gtidPos, own uint32) int64 {
	var sum uint64
	for domain, want := range other {
		if have := p[domain]; want.server != own && want.seq > have.seq {
			sum = min(sum+min(want.seq-have.seq, math.MaxInt64), math.MaxInt64)
		}
	}
	return int64(sum)
}

// of is in how many domains the newest transaction began at a server.
func (p gtidPos) of(server uint32) (domains int) {
	for _, newest := range p {
		if newest.server == server {
			domains++
		}
	}
	return domains
}
