package scrapefile

import (
	"errors"
	"net/url"
)

// jobOf is the job of one address; its name is the address without scheme, and without the usual path.
func jobOf(target string) (map[string]any, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("write it like http://127.0.0.1:9100/metrics")
	}
	path, name := u.Path, u.Host
	if path == "" || path == "/" {
		path = "/metrics"
	}
	if path != "/metrics" {
		name += path
	}
	return map[string]any{
		"job_name": name, "scheme": u.Scheme, "metrics_path": path,
		"static_configs": []any{map[string]any{"targets": []any{u.Host}}},
	}, nil
}
