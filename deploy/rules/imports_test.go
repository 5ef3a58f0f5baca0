package rules

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/evenkeel/evenkeel/"
)

// rooms is the allow-list: which packages of the house each part may import directly, as path prefixes. A part is
// the longest prefix that matches; files of tests may import what they need unless strict says otherwise.
func rooms() map[string][]string {
	core := "server/internal/core"
	everyRoom := []string{"server/internal/", "remediations", "detectors", "web"}
	return map[string][]string{
		"server/internal/core":     {},
		"server/internal/ingest":   {core},
		"server/internal/store":    {core},
		"server/internal/detect":   {core, "detectors"},
		"server/internal/health":   {core, "detectors"},
		"server/internal/decide":   {core},
		"server/internal/act":      {core, "remediations"},
		"server/internal/ledger":   {core},
		"server/internal/api":      {core},
		"server/internal/calendar": {core},
		"server/internal/cli":      {core, "server/internal/cli/"},
		"server/internal/app":      everyRoom,
		"server":                   {"server/internal/app", "server/internal/cli", core},
		"agent":                    {"agent/", "remediations/pagerduty", "remediations/receiver"},
		"detectors":                {"detectors"},
		"remediations":             {"remediations"},
		"web":                      {},
		"deploy/lab":               {"deploy/lab/", "remediations"},
		"deploy/e2e":               {"deploy/e2e/", "remediations"},
		"deploy/bench":             {"deploy/bench/", "deploy/e2e", "remediations"},
		"deploy/calibrate":         {"detectors"},
		"deploy/contract":          {"deploy/contract/", "remediations"},
		"deploy/recordings":        {"deploy/recordings/", "deploy/e2e", "detectors"},
		"deploy/rules":             {},
	}
}

// onlyIn says in which parts a foreign module may be imported.
func onlyIn() map[string][]string {
	return map[string][]string{
		"github.com/VictoriaMetrics/":          {"server/internal/store"},
		"github.com/VictoriaMetrics/metricsql": {"server/internal/store", "server/internal/app/config"}, // the latter checks the queries of a file
		"go.etcd.io/":                          {"server/internal/ledger"},
		"github.com/gin-gonic/":                {"server/internal/api"},
		"github.com/robfig/cron":               {"server/internal/detect", "server/internal/calendar"},
		"go.opentelemetry.io/collector/pdata":  {"server/internal/ingest", "agent", "deploy"},
		"go.opentelemetry.io/collector":        {"server/internal/ingest", "agent", "deploy"},
		"gonum.org/":                           {"detectors"},
		"github.com/nats-io/":                  {"deploy/lab", "deploy/contract", "agent/internal/replica"},
		"github.com/jackc/pgx/":                {"agent/internal/replica"},
		"github.com/go-sql-driver/":            {"agent/internal/replica"},
		"github.com/redis/":                    {"agent/internal/replica"},
		"github.com/twmb/":                     {"agent/internal/replica"},
		"github.com/miekg/dns":                 {"agent/internal/probe"},
		"google.golang.org/grpc":               {"agent/internal/probe"},
		"github.com/cenkalti/backoff":          {"server/internal/act", "remediations"},
		"github.com/sony/gobreaker":            {"server/internal/act", "remediations"},
		"code.dny.dev/ssrf":                    {"server/internal/act", "remediations"},
		"github.com/spf13/cobra":               {"server", "agent", "deploy"},
		"go.yaml.in/yaml":                      {"server/internal/app", "agent", "deploy"},
		"github.com/prometheus/client_golang":  {"server/internal", "deploy"},
		"github.com/prometheus/prometheus":     {"agent"},
		"google.golang.org/protobuf":           {"server/internal/ingest"},
		"github.com/oapi-codegen/":             {"server/internal/api", "server/internal/cli"},
		"github.com/getkin/kin-openapi":        {"server/internal/api"},
		"github.com/cockroachdb/datadriven":    {"server/internal/health", "server/internal/decide"},
		"github.com/santhosh-tekuri/":          {"server/internal/app/config", "deploy/lab"}, // tests alone
		"pgregory.net/rapid":                   {"server/internal", "detectors", "remediations", "agent", "deploy"},
	}
}

// realInTests are the neighbours that the tests of a room start for real instead of imitating them.
func realInTests() map[string][]string {
	return map[string][]string{
		"server/internal/api": {"server/internal/ledger"},
		"server/internal/cli": {"server/internal/ledger", "server/internal/api"},
	}
}

type file struct {
	path    string // from the root of the module
	pkg     string // folder
	imports []string
	test    bool
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "data" || name == "tools") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := file{path: rel, pkg: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d files found: the walk looks in the wrong place", len(out))
	}
	return out
}

// partOf is the longest key of parts that is pkg or a folder above it.
func partOf[V any](pkg string, parts map[string]V) string {
	best := ""
	for part := range parts {
		if (pkg == part || strings.HasPrefix(pkg, part+"/")) && len(part) > len(best) {
			best = part
		}
	}
	return best
}

// violations are the imports of f that its part does not allow.
func violations(f file) []string {
	allowed := rooms()
	part := partOf(f.pkg, allowed)
	var out []string
	for _, imported := range f.imports {
		own, ours := strings.CutPrefix(imported, module)
		switch {
		case ours && part == "":
			out = append(out, f.path+": this folder is in no room; add it to the allow-list")
		case ours && own != part && !strings.HasPrefix(own, part+"/") && !allows(allowed[part], own):
			if f.test && slices.Contains(realInTests()[part], own) {
				continue
			}
			out = append(out, f.path+": "+part+" may not import "+own)
		case !ours:
			if foreign := partOfModule(imported); foreign != "" {
				places := onlyIn()[foreign]
				if !slices.ContainsFunc(places, func(p string) bool { return f.pkg == p || strings.HasPrefix(f.pkg, p+"/") }) {
					out = append(out, f.path+": "+imported+" belongs to "+strings.Join(places, ", "))
				}
			}
		}
	}
	return out
}

func allows(prefixes []string, own string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return own == p || strings.HasPrefix(own, strings.TrimSuffix(p, "/")+"/")
	})
}

func partOfModule(imported string) string {
	best := ""
	for prefix := range onlyIn() {
		if strings.HasPrefix(imported, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return best
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, f := range files(t) {
		for _, v := range violations(f) {
			t.Error(v)
		}
	}
}

// TestPureRoomsStayPure: no clock, no context, no goroutine helper, no log in the rooms that judge.
func TestPureRoomsStayPure(t *testing.T) {
	banned := []string{"context", "sync", "sync/atomic", "log", "log/slog", "os", "net", "net/http", "math/rand", "math/rand/v2", "io", "crypto/rand"}
	for _, f := range files(t) {
		pure := slices.Contains([]string{"server/internal/core", "server/internal/health", "server/internal/decide", "server/internal/calendar", "detectors"}, f.pkg)
		if !pure || f.test {
			continue
		}
		for _, imported := range f.imports {
			if slices.Contains(banned, imported) {
				t.Errorf("%s: a pure room imports %s", f.path, imported)
			}
		}
	}
}

// TestTheRulesCanFail: a check that cannot fail is none.
func TestTheRulesCanFail(t *testing.T) {
	f := func(pkg, imported string, want bool) {
		t.Helper()
		got := len(violations(file{path: pkg + "/x.go", pkg: pkg, imports: []string{imported}})) > 0
		if got != want {
			t.Errorf("%s importing %s: refused is %v, want %v", pkg, imported, got, want)
		}
	}
	f("server/internal/health", module+"server/internal/decide", true)
	f("server/internal/health", module+"server/internal/core", false)
	f("server/internal/api", module+"server/internal/ledger", true)
	f("server/internal/act", module+"remediations/webhook", false)
	f("server/internal/act", "github.com/VictoriaMetrics/metricsql", true)
	f("server/internal/store", "github.com/VictoriaMetrics/metricsql", false)
	f("server/internal/store", "github.com/gin-gonic/gin", true)
	f("agent", module+"server/internal/core", true)
	f("agent/internal/probe", "go.opentelemetry.io/collector/component", false)
	f("server/internal/decide", "gonum.org/v1/gonum/stat", true)
	f("newroom", module+"server/internal/core", true)
}
