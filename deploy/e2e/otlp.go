package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Metric is one metric of an export: a gauge, or a cumulative monotonic sum.
type Metric struct {
	Name, Unit string
	Sum        bool
	Points     []Point
}

// Point is one data point; Attrs are names and values in turn.
type Point struct {
	Value float64
	At    time.Time
	Attrs []string
}

type object = map[string]any

// Export is the OTLP/JSON of metrics from one instance.
func Export(instance string, start time.Time, metrics ...Metric) ([]byte, error) {
	var list []object
	for _, m := range metrics {
		var points []object
		for _, p := range m.Points {
			point := object{"asDouble": p.Value, "timeUnixNano": nanos(p.At), "attributes": attributes(p.Attrs...)}
			if m.Sum {
				point["startTimeUnixNano"] = nanos(start)
			}
			points = append(points, point)
		}
		one := object{"name": m.Name, "unit": m.Unit}
		if m.Sum {
			one["sum"] = object{"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points}
		} else {
			one["gauge"] = object{"dataPoints": points}
		}
		list = append(list, one)
	}
	raw, err := json.Marshal(object{"resourceMetrics": []object{{
		"resource":     object{"attributes": attributes("service.instance.id", instance)},
		"scopeMetrics": []object{{"metrics": list}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	return raw, nil
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func attributes(pairs ...string) []object {
	out := []object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, object{"key": pairs[i], "value": object{"stringValue": pairs[i+1]}})
	}
	return out
}

// Answer is what the door said.
type Answer struct {
	Status int
	Body   string
}

// Post sends a body to a path of the server; header are names and values in turn. An answer of any status is one.
func Post(ctx context.Context, client *http.Client, url, token string, body []byte, header ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("post to %s: %w", url, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return Answer{resp.StatusCode, string(raw)}, nil
}
