package detect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// victoria is a stock VictoriaMetrics in a process of its own, as a store.
type victoria struct {
	base   string
	client *http.Client
}

func startVictoria(t *testing.T) *victoria {
	t.Helper()
	root := t.TempDir()
	bin := filepath.Join(root, "victoria-metrics")
	build := exec.Command("go", "build", "-o", bin, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build victoria-metrics: %v: %s", err, out)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(bin, "-storageDataPath="+filepath.Join(root, "data"), "-httpListenAddr="+addr, "-search.latencyOffset=0s",
		"-storage.cacheSizeIndexDBTagFilters=1", "-loggerLevel=ERROR")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victoria{base: "http://" + addr, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		v.client.CloseIdleConnections()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err = v.call(t.Context(), "/health", nil, ""); err == nil {
			return v
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// call posts a body, or args when it is empty.
func (v *victoria) call(ctx context.Context, path string, args url.Values, body string) ([]byte, error) {
	kind := "text/plain"
	if body == "" {
		kind, body = "application/x-www-form-urlencoded", args.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 {
		err = errors.Join(err, fmt.Errorf("%s: %s", resp.Status, answer))
	}
	return answer, err
}

// Append makes samples visible at once.
func (v *victoria) Append(ctx context.Context, samples []core.Sample) error {
	var b strings.Builder
	for _, s := range samples {
		b.WriteString(s.Name + "{")
		for _, l := range s.Labels {
			fmt.Fprintf(&b, "%s=%q,", l.Name, l.Value)
		}
		fmt.Fprintf(&b, "} %v %d\n", s.Value, s.AtMS)
	}
	if _, err := v.call(ctx, "/api/v1/import/prometheus", nil, b.String()); err != nil {
		return err
	}
	_, err := v.call(ctx, "/internal/force_flush", nil, "")
	return err
}

type points struct {
	Metric map[string]string `json:"metric"`
	Values [][2]any          `json:"values"`
}

func (v *victoria) ask(ctx context.Context, path string, args url.Values) ([]points, error) {
	args.Set("nocache", "1")
	body, err := v.call(ctx, path, args, "")
	if err != nil {
		return nil, err
	}
	var a struct {
		Data struct {
			Result []points `json:"result"`
		} `json:"data"`
	}
	err = json.Unmarshal(body, &a)
	return a.Data.Result, err
}

func (v *victoria) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	past, err := v.QueryRange(ctx, expr, at.Add(-step), at.Add(2*step), step) // else the last points are those before them
	var out []core.SeriesValue
	for _, r := range past {
		if i := slices.IndexFunc(r.Times, at.Equal); i >= 0 {
			out = append(out, core.SeriesValue{Labels: r.Labels, Value: r.Values[i], At: at})
		}
	}
	return out, err
}

func (v *victoria) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	list, err := v.ask(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {fmt.Sprint(step.Seconds())},
	})
	var out []core.SeriesRange
	for _, p := range list {
		r := core.SeriesRange{Labels: p.Metric}
		for _, pair := range p.Values {
			when, value := point(pair)
			r.Times, r.Values = append(r.Times, when), append(r.Values, value)
		}
		out = append(out, r)
	}
	return out, err
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func point(pair [2]any) (time.Time, float64) {
	seconds, _ := pair[0].(float64)
	text, _ := pair[1].(string)
	value, _ := strconv.ParseFloat(text, 64)
	return time.UnixMilli(int64(seconds*1000 + 0.5)), value
}

// The question of a follower, put to what will answer it, and a watch that changes hands in a trouble.
func TestFollowingInARealStore(t *testing.T) {
	if testing.Short() {
		t.Skip("a real store and a real clock take a quarter of a minute")
	}
	v := startVictoria(t)
	start := time.Now()
	var past []core.Sample
	for d := -2 * time.Minute; d < time.Minute; d += time.Second {
		for site, value := range map[string]float64{"fra": 0.2, "ams": 0.3} {
			if site == "fra" && d > 4*time.Second {
				value = 12
			}
			past = append(past, core.Sample{
				Name: "trouble", Labels: []core.Label{{Name: "target_site", Value: site}}, Value: value, AtMS: start.Add(d).UnixMilli(),
			})
		}
	}
	if err := v.Append(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	watch := errorsWatch()
	watch.Name, watch.Query = `of "trouble"`, "max by (target_site) (last_over_time(trouble[5s]))"
	watch.Every, watch.Training = time.Second, 100*time.Second
	first, second := &replica{store: v, mine: until(9500 * time.Millisecond)}, &replica{store: v, mine: from(9500 * time.Millisecond)}
	together(t, 14500*time.Millisecond, watch, first, second)

	for name, r := range map[string]*replica{"first": first, "second": second} {
		heard, own, normal := 0, 0, 0
		for _, s := range r.hears.signals {
			switch {
			case s.Subject.Site == "ams" && s.State != core.DetectorNormal, s.State == core.DetectorUnknown, s.State == core.DetectorWarming:
				t.Errorf("%s: %+v", name, s)
			case s.Subject.Site == "ams":
				normal++
			case s.State == core.DetectorNormal && heard+own > 0:
				t.Errorf("%s calls a trouble normal: %+v", name, s)
			case s.State != core.DetectorAnomalous:
			case s.Value != 12 || !s.HasBand || s.Upper != 2.7 || s.Score < 0.999:
				t.Errorf("%s: %+v", name, s)
			case strings.Contains(s.Sentence, "another replica"):
				heard++
			default:
				own++
			}
		}
		if heard < 2 || own < 2 || normal < 8 {
			t.Errorf("%s: %d anomalies heard, %d found, %d times normal elsewhere", name, heard, own, normal)
		}
	}
}

// When a watch was judged is asked of what will answer it: a restart after a pause that is longer than patience finds nobody absent but who was
// known to be.
func TestAbsenceInARealStore(t *testing.T) {
	if testing.Short() {
		t.Skip("a real store and a real clock take a quarter of a minute")
	}
	v := startVictoria(t)
	start := time.Now()
	var past []core.Sample
	for d := -30 * time.Second; d < time.Minute; d += time.Second {
		for site, there := range map[string]bool{"fra": d < 5*time.Second || d > 13*time.Second, "ams": d < -10*time.Second} {
			if there {
				past = append(past, core.Sample{
					Name: "there", Labels: []core.Label{{Name: "target_site", Value: site}}, Value: 1, AtMS: start.Add(d).UnixMilli(),
				})
			}
		}
	}
	if err := v.Append(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	watch := rowWatch(detect.ModelAbsence)
	watch.Query, watch.Every, watch.Training, watch.Patience = "count by (target_site) (count_over_time(there[1s]))", time.Second, 40*time.Second, 3
	r := &replica{store: v, mine: always}
	together(t, 5*time.Second, watch, r)
	if first := states(&r.hears); !strings.Contains(first, "anomalous") {
		t.Fatalf("before the pause: %s", first)
	}
	time.Sleep(time.Until(start.Add(12 * time.Second)))
	r.hears = world{}
	together(t, 6*time.Second, watch, r)
	fra, ams := 0, 0
	for _, s := range r.hears.signals {
		switch {
		case s.Subject.Site == "fra" && s.State == core.DetectorAnomalous:
			t.Errorf("fra is absent after a pause: %s", s.Sentence)
		case s.Subject.Site == "fra" && s.State == core.DetectorNormal:
			fra++
		case s.Subject.Site == "ams" && s.State == core.DetectorAnomalous:
			ams++
		}
	}
	if fra < 2 || ams < 4 {
		t.Errorf("fra was there %d times, ams absent %d times: %+v", fra, ams, r.hears.signals)
	}
}

var _ detect.Querier = (*victoria)(nil)
