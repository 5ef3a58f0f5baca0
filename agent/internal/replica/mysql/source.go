package mysql

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// source says what the sending end of a link tells. It is not told what was applied, so that it can only see that nobody
// fetches; with an echo it also has a bound for what would be lost.
func source(link LinkSpec, server serverRow, dumps []dumpRow, exposure replica.Opt[time.Duration]) replica.Sighting {
	s := link.sighting()
	s.Exposure = exposure
	s.Written = server.Binlog
	if s.Written == "" {
		s.Written = server.Executed
	}
	if !server.Process {
		return because(s, replica.Unknown, replica.ReasonPrivilege, "without PROCESS the threads that serve replicas are not shown")
	}
	n := 0
	for _, d := range dumps {
		if link.Peer == "" || link.Peer == d.User || link.Peer == d.host() {
			n++
		}
	}
	s.Extra = []replica.Measure{{Name: "source.dump_threads", Unit: "1", Value: float64(n)}}
	if n == 0 {
		return because(s, replica.LinkDown, "", "no replica fetches the binary log")
	}
	return because(s, replica.Unknown, replica.ReasonNotMeasured,
		fmt.Sprintf("%d replicas fetch the binary log; the source is not told what they applied", n))
}

// host is the host without the port.
func (d dumpRow) host() string {
	if i := strings.LastIndexByte(d.Host, ':'); i >= 0 && !strings.HasSuffix(d.Host, "]") {
		return d.Host[:i]
	}
	return d.Host
}
