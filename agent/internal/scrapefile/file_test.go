package scrapefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, dir, "secret", "x")
	f := func(text string, targets []string, want map[string]any) {
		t.Helper()
		path := ""
		if text != "" {
			path = write(t, dir, "scrape.yaml", text)
		}
		got, err := Config(path, targets)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	job := func(name, scheme, path, target string) map[string]any {
		return map[string]any{
			"job_name": name, "scheme": scheme, "metrics_path": path,
			"static_configs": []any{map[string]any{"targets": []any{target}}},
		}
	}
	usual := map[string]any{"scrape_interval": "15s"}
	f("", []string{"http://127.0.0.1:9100", "https://a.example/x/metrics"}, map[string]any{
		"global": usual,
		"scrape_configs": []any{
			job("127.0.0.1:9100", "http", "/metrics", "127.0.0.1:9100"),
			job("a.example/x/metrics", "https", "/x/metrics", "a.example"),
		},
	})
	f("- {job_name: a}\n", nil, map[string]any{"global": usual, "scrape_configs": []any{map[string]any{"job_name": "a"}}})
	f("global: {scrape_interval: 5s}\nscrape_configs:\n- job_name: a\n  basic_auth: {password_file: secret}\n  file_sd_configs: [{files: [\"t/*.json\"]}]\n",
		nil, map[string]any{
			"global": map[string]any{"scrape_interval": "5s"},
			"scrape_configs": []any{map[string]any{
				"job_name": "a", "basic_auth": map[string]any{"password_file": secret},
				"file_sd_configs": []any{map[string]any{"files": []any{filepath.Join(dir, "t/*.json")}}},
			}},
		})
}

func TestWrongFilesNamePlaceAndRemedy(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := write(t, t.TempDir(), "scrape.yaml", text)
		if _, err := Config(path, nil); err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	f("", " is empty: write a list of scrape configs")
	f("a: [\n", " is no YAML: line")
	f("just words\n", ":1: not a list: write")
	f("scrape_configs: []\n", " names nothing to scrape")
	f("scrape_configs: [{job_name: a}]\nrule_files: []\n", ":2: rule_files is not for an agent")
	f("- job_name: a\n  authorization:\n    credentials_file: none\n", ":3: credentials_file ")
	if _, err := Config("/no/such/file", nil); err == nil || !strings.Contains(err.Error(), "cannot be read: give the path") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Config("", []string{"127.0.0.1:9100"}); err == nil || !strings.Contains(err.Error(), "write it like http://") {
		t.Errorf("an address without scheme: %v", err)
	}
}

func TestDollarsAreTextToTheCollector(t *testing.T) {
	in := map[string]any{"a": []any{"${1}$$", 1, map[string]any{"b": "$x"}}}
	want := map[string]any{"a": []any{"$${1}$$$$", 1, map[string]any{"b": "$$x"}}}
	if diff := cmp.Diff(want, Escape(in)); diff != "" {
		t.Error(diff)
	}
	if in["a"].([]any)[0] != "${1}$$" {
		t.Error("the caller's value was changed")
	}
}
