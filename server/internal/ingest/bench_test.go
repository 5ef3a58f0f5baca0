package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang/snappy"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

type nowhere struct{}

func (nowhere) Append(context.Context, []core.Sample) error { return nil }
func (nowhere) Facts([]core.Fact)                           {}

const benchSamples = 10_000

func bench(b *testing.B, path string, body []byte, headers ...string) {
	h := newHouse(func(o *Options) { o.Store, o.Limits.RequestsPerSecond = nowhere{}, 1e9 })
	handler := h.door.Handler()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r := httptest.NewRequest("POST", path, bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer fra-token")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code/100 != 2 || w.Body.Len() > 2 { // an empty partial success takes two bytes
			b.Fatal(w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(b.N*benchSamples)/b.Elapsed().Seconds(), "samples/s")
}

func BenchmarkOTLP(b *testing.B) {
	now := newHouse(nil).now
	md := pmetric.NewMetrics()
	for host := range 20 {
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("host.name", fmt.Sprintf("host-%d", host))
		ms := rm.ScopeMetrics().AppendEmpty().Metrics()
		for i := range 50 {
			m := ms.AppendEmpty()
			m.SetName(fmt.Sprintf("system.thing%d.utilization", i))
			m.SetUnit("1")
			points := m.SetEmptyGauge().DataPoints()
			for j := range 10 {
				fill(points.AppendEmpty(), 0.25, now, "cpu", fmt.Sprintf("cpu%d", j), "state", "user", "device", "/dev/sda1", "mode", "rw")
			}
		}
	}
	body, _ := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	bench(b, "/v1/metrics", body, "Content-Type", contentProtobuf)
}

func BenchmarkRemoteWrite(b *testing.B) {
	now := newHouse(nil).now
	var list []series
	for i := range benchSamples {
		list = append(list, series{
			labels: []string{
				"__name__", fmt.Sprintf("system_thing%d_utilization", i%500/10), "cpu", fmt.Sprintf("cpu%d", i%10), "device", "/dev/sda1",
				"host_name", fmt.Sprintf("host-%d", i/500), "mode", "rw", "state", "user",
			},
			values: []float64{float64(i)}, at: []time.Time{now},
		})
	}
	bench(b, "/api/v1/write", snappy.Encode(nil, encode(list...)), "Content-Encoding", "snappy")
}
