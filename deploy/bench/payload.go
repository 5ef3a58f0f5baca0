package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/golang/snappy"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// The load: hosts with host metrics. A request carries the series of some hosts, as large as what agents send.
const (
	hosts           = 100
	metricsPerHost  = 50
	pointsPerMetric = 20
	seriesPerHost   = metricsPerHost * pointsPerMetric
	hostsPerRequest = 5
	scrapeEvery     = 500 * time.Millisecond // of the timestamps
)

// wire is one way to send samples.
type wire struct {
	name         string
	ours, theirs string // paths
	header       []string
	encode       func([]host, time.Time) ([]byte, error)
}

func otlp() wire {
	return wire{
		name: "otlp", ours: "/v1/metrics", theirs: "/opentelemetry/v1/metrics", encode: encodeOTLP,
		header: []string{"Content-Type", "application/x-protobuf", "Content-Encoding", "gzip"},
	}
}

func remoteWrite() wire {
	return wire{
		name: "remote_write", ours: "/api/v1/write", theirs: "/api/v1/write", encode: encodeRemoteWrite,
		header: []string{
			"Content-Type", "application/x-protobuf", "Content-Encoding", "snappy",
			"X-Prometheus-Remote-Write-Version", "0.1.0",
		},
	}
}

// payload is one request.
type payload struct {
	body    []byte
	samples int
}

// host is one of those whose metrics are sent.
type host struct {
	name   string
	values *rand.Rand
}

func hostName(n int) string { return fmt.Sprintf("host-%02d", n) }

func (h host) value() float64 { return math.Round(h.values.Float64()*1000) / 1000 }

// prepare makes the requests of some scrapes of all hosts, the last one at the time given.
func prepare(w wire, scrapes int, last time.Time) ([]payload, error) {
	const perScrape = hosts / hostsPerRequest
	out := make([]payload, scrapes*perScrape)
	var all sync.WaitGroup
	var mu sync.Mutex
	var failure error
	for sender := range senders {
		all.Go(func() {
			for i := sender; i < len(out); i += senders {
				at := last.Add(time.Duration(i/perScrape-scrapes+1) * scrapeEvery)
				var list []host
				for n := range hostsPerRequest {
					n += i % perScrape * hostsPerRequest
					list = append(list, host{hostName(n), rand.New(rand.NewPCG(uint64(at.UnixNano()), uint64(n)))})
				}
				body, err := w.encode(list, at)
				if err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
					return
				}
				out[i] = payload{body, hostsPerRequest * seriesPerHost}
			}
		})
	}
	all.Wait()
	return out, failure
}

// encodeOTLP is an export of gauges, zipped as the Collector's exporter does.
func encodeOTLP(list []host, at time.Time) ([]byte, error) {
	md := pmetric.NewMetrics()
	for _, h := range list {
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("host.name", h.name)
		metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
		for i := range metricsPerHost {
			m := metrics.AppendEmpty()
			m.SetName(fmt.Sprintf("system.thing%d.utilization", i))
			m.SetUnit("1")
			points := m.SetEmptyGauge().DataPoints()
			for j := range pointsPerMetric {
				p := points.AppendEmpty()
				p.SetDoubleValue(h.value())
				p.SetTimestamp(pcommon.NewTimestampFromTime(at))
				for _, l := range labels(h.name, j, "otlp") {
					p.Attributes().PutStr(l[0], l[1])
				}
			}
		}
	}
	raw, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		return nil, fmt.Errorf("encode an export: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		return nil, fmt.Errorf("zip an export: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("zip an export: %w", err)
	}
	return out.Bytes(), nil
}

// labels of a series besides its name and its host, in order. The device tells hosts apart under any naming.
func labels(host string, point int, wire string) [4][2]string {
	return [4][2]string{{"cpu", fmt.Sprintf("cpu%d", point)}, {"device", device(host)}, {"mode", wire}, {"state", "user"}}
}

func device(host string) string { return "/dev/" + host }

// encodeRemoteWrite is a prometheus.WriteRequest: repeated TimeSeries timeseries = 1, of it repeated Label labels = 1 and
// Sample samples = 2; a Label is name = 1 and value = 2, a Sample is double value = 1 and int64 timestamp = 2.
func encodeRemoteWrite(list []host, at time.Time) ([]byte, error) {
	field := func(out []byte, tag byte, value []byte) []byte {
		out = binary.AppendUvarint(append(out, tag<<3|2), uint64(len(value)))
		return append(out, value...)
	}
	var request, series, part []byte
	label := func(name, value string) {
		part = field(part[:0], 1, []byte(name))
		part = field(part, 2, []byte(value))
		series = field(series, 1, part)
	}
	for _, h := range list {
		for i := range metricsPerHost {
			for j := range pointsPerMetric {
				series = series[:0]
				label("__name__", fmt.Sprintf("system_thing%d_utilization_ratio", i))
				more := labels(h.name, j, "remote_write")
				label(more[0][0], more[0][1])
				label(more[1][0], more[1][1])
				label("host_name", h.name)
				label(more[2][0], more[2][1])
				label(more[3][0], more[3][1])
				part = binary.LittleEndian.AppendUint64(append(part[:0], 1<<3|1), math.Float64bits(h.value()))
				part = binary.AppendUvarint(append(part, 2<<3), uint64(at.UnixMilli()))
				series = field(series, 2, part)
				request = field(request, 1, series)
			}
		}
	}
	return snappy.Encode(nil, request), nil
}
