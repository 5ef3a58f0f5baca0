package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// payload is how large an answer over UDP may be. It passes without fragments nearly everywhere.
const payload = 1232

// DNS puts the question of a dns://resolver/name?type=A URL to that resolver, over UDP, and over TCP when the answer
// was cut. An rcode that is not expected is a status, an answer that is not expected a body. Where NOERROR is
// expected at least one record of the type must come.
func DNS(ctx context.Context, via Via, q Question) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	res, answer := query(ctx, via, "udp", q, res)
	if answer != nil && answer.Truncated {
		res, answer = query(ctx, via, "tcp", q, res)
	}
	if answer == nil {
		return res
	}
	if answer.Rcode != q.rcode {
		return unexpected(res, ReasonStatus, fmt.Sprintf("answered %s, not %s", rcodeName(answer.Rcode), rcodeName(q.rcode)))
	}
	if why := q.lacks(answer.Answer); why != "" {
		return unexpected(res, ReasonBody, why)
	}
	res.State = Up
	return res
}

// query asks once. The answer is nil when there was none; res then says why.
func query(ctx context.Context, via Via, network string, q Question, res Result) (Result, *dns.Msg) {
	raw, err := dial(ctx, via, network, hostPort(q.URL), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0), nil
	}
	defer func() { _ = raw.Close() }()
	ask := new(dns.Msg).SetQuestion(q.qname, q.qtype)
	ask.SetEdns0(payload, false)
	conn := dns.Conn{Conn: raw.Conn, UDPSize: payload} // the library looks at the type of what it writes to
	began := time.Now()
	if err := conn.WriteMsg(ask); err != nil {
		return failed(ctx, res, err, phaseAnswer, 0), nil
	}
	for {
		answer, err := conn.ReadMsg()
		if err == nil && !answers(ask, answer) {
			if network == "udp" {
				continue // somebody else's, or a late one: ours may still come
			}
			err = errors.New("the answer is to another question")
		}
		if err != nil {
			return failed(ctx, res, err, phaseAnswer, read(answer)), nil
		}
		res.Phases.FirstByte += time.Since(began)
		return res, answer
	}
}

// read is more than nothing when a message came that could not be read.
func read(m *dns.Msg) int64 {
	if m != nil {
		return 1
	}
	return 0
}

// answers reports whether the message is the answer to the question. Servers leave the question out of some errors.
func answers(ask, answer *dns.Msg) bool {
	if !answer.Response || answer.Id != ask.Id {
		return false
	}
	if len(answer.Question) == 0 {
		return answer.Rcode != dns.RcodeSuccess
	}
	got, want := answer.Question[0], ask.Question[0]
	return strings.EqualFold(got.Name, want.Name) && got.Qtype == want.Qtype && got.Qclass == want.Qclass
}

// lacks says what is not among the records; empty when nothing.
func (q *Question) lacks(records []dns.RR) string {
	var got []string
	for _, r := range records {
		if r.Header().Rrtype == q.qtype {
			got = append(got, canonical(value(r)))
		}
	}
	if len(q.answers) == 0 {
		if len(got) == 0 && q.rcode == dns.RcodeSuccess {
			return "answered without a record of type " + dns.TypeToString[q.qtype]
		}
		return ""
	}
	for _, want := range q.answers {
		if !slices.Contains(got, want) {
			return fmt.Sprintf("%.100q is not among the %d answers", want, len(got))
		}
	}
	return ""
}

// value is what a record says, without its head: an address, a name, the text of a TXT, else as in a zone file.
func value(r dns.RR) string {
	if txt, ok := r.(*dns.TXT); ok {
		return strings.Join(txt.Txt, "")
	}
	return strings.TrimPrefix(r.String(), r.Header().String())
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("rcode %d", rcode)
}
