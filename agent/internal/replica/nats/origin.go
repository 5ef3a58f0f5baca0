package nats

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// LinkSpec declares one end of a replication link.
type LinkSpec struct {
	Store, From, To string
	// Channel is the name of the origin's stream: what the link copies.
	Channel string
	End     replica.End
	// Peer is the name of the copy's stream; empty: the same.
	Peer string
	// Domain is the origin's JetStream domain as the copy's configuration names it. It tells apart sources of the same
	// name; empty: the only one of that name, or else the one whose domain is named as From.
	Domain string
}

func (l LinkSpec) sighting() replica.Sighting {
	return replica.Sighting{
		Link: replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}, End: l.End,
	}
}

// copied is the name of the copy's stream.
func (l LinkSpec) copied() string {
	if l.Peer == "" {
		return l.Channel
	}
	return l.Peer
}

// upstream is how the copy gets its messages.
type upstream struct {
	SourceRow
	mirror bool
}

// find picks from the copy's stream what the link declares.
func (l LinkSpec) find(row StreamRow) (upstream, *Failure) {
	fits := func(s SourceRow) bool {
		return s.Name == l.Channel && (l.Domain == "" || domain(s.APIPrefix) == l.Domain)
	}
	if row.Mirror.OK {
		if !fits(row.Mirror.V) {
			return upstream{}, &Failure{replica.ReasonMisconfigured, fmt.Sprintf("the stream mirrors %s, which is not the declared origin", row.Mirror.V.Name)}
		}
		return upstream{row.Mirror.V, true}, nil
	}
	if len(row.Sources) == 0 {
		return upstream{}, &Failure{replica.ReasonRole, "the stream copies nothing: it was promoted or never told to replicate"}
	}
	var found []SourceRow
	for _, s := range row.Sources {
		if fits(s) {
			found = append(found, s)
		}
	}
	if len(found) > 1 && l.Domain == "" {
		named := found[:0:0]
		for _, s := range found {
			if domain(s.APIPrefix) == l.From {
				named = append(named, s)
			}
		}
		found = named
	}
	if len(found) != 1 {
		return upstream{}, &Failure{replica.ReasonMisconfigured, fmt.Sprintf("the declared origin is %d of the stream's %d sources; it has to be one", len(found), len(row.Sources))}
	}
	return upstream{found[0], false}, nil
}

// filters are the subjects at the origin that are copied; nil: all.
func (u upstream) filters() []string {
	if len(u.Transforms) == 0 {
		if u.Filter == "" || u.Filter == ">" {
			return nil
		}
		return []string{u.Filter}
	}
	var out []string
	for _, t := range u.Transforms {
		if t.From == "" || t.From == ">" {
			return nil
		}
		out = append(out, t.From)
	}
	return out
}

// landing are the subjects under which the messages of a source with the given subjects are stored in the copy.
func (u upstream) landing(subjects []string) []string {
	if len(u.Transforms) > 0 {
		var out []string
		for _, t := range u.Transforms {
			if t.To != "" {
				out = append(out, wildcards(t.To))
			} else {
				out = append(out, t.From)
			}
		}
		return out
	}
	if f := u.filters(); f != nil {
		return f
	}
	return subjects
}

// wildcards makes a filter of the destination of a subject transform: {{wildcard(1)}}, {{split(1,-)}} and $1 stand for
// anything, also for several tokens.
func wildcards(destination string) string {
	var out []string
	for token := range strings.SplitSeq(destination, ".") {
		switch {
		case token == ">", strings.HasPrefix(token, "{{split"), strings.HasPrefix(token, "{{Split"), strings.HasPrefix(token, "{{slice"), strings.HasPrefix(token, "{{Slice"):
			return strings.Join(append(out, ">"), ".")
		case strings.Contains(token, "{{"), strings.HasPrefix(token, "$"):
			token = "*"
		}
		out = append(out, token)
	}
	return strings.Join(out, ".")
}

// origin is the origin's sequence that a Nats-Stream-Source header holds, when it is of this source. The header is
// "<stream> <seq>", from 2.10 on "<stream>[:<hash of the API prefix>] <seq> <filter> <destination> <subject>", and more
// fields may follow.
func (u upstream) origin(header string) replica.Opt[uint64] {
	fields := strings.Split(header, " ")
	if len(fields) < 2 {
		return replica.Opt[uint64]{}
	}
	// A durable consumer of the source adds its own hash to the name.
	name, _, _ := strings.Cut(fields[0], ":C=")
	if name != u.index() {
		return replica.Opt[uint64]{}
	}
	seq, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil || seq == 0 {
		return replica.Opt[uint64]{}
	}
	return replica.Some(seq)
}

// index is how the server names a source in its headers.
func (u upstream) index() string {
	if u.APIPrefix == "" {
		return u.Name
	}
	// As getHash in the server's events.go.
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(u.APIPrefix))
	hash := make([]byte, 8)
	for i := range hash {
		hash[i] = digits[int(sum[i])%len(digits)]
	}
	return u.Name + ":" + string(hash)
}
