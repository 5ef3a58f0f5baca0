package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// benchDecide runs the Go benchmarks of what stands between a fact and an action, and prints them as figures.
func benchDecide(ctx context.Context, b *bench) error {
	for _, p := range []struct{ prefix, pkg, pattern string }{
		{"health", "server/internal/health", "^BenchmarkJudge$"},
		{"decide", "server/internal/decide", "^BenchmarkStep"},
		{"detectors", "detectors", "^BenchmarkObserve$"},
		{"ledger", "server/internal/ledger", "^BenchmarkCommit$"},
	} {
		err := goBench(ctx, p.pkg, p.pattern, b.o.Time, func(name string, figures map[string]float64) {
			name = p.prefix + "_" + name
			b.figure(name, figures["ns/op"]/1000, "us")
			b.figure(name+"_allocs", figures["allocs/op"], "count")
		}, "-benchmem")
		if err != nil {
			return err
		}
	}
	return nil
}

// goBench runs Go benchmarks of one package, each for so long, and tells of every one its name and figures by unit.
func goBench(ctx context.Context, pkg, pattern, lasts string, tell func(name string, figures map[string]float64), flags ...string) error {
	args := append([]string{"test", "-run", "^$", "-bench", pattern, "-benchtime", lasts, "-timeout", "0"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/evenkeel/evenkeel/"+pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench %s of %s: %w\n%s", pattern, pkg, err, bytes.TrimSpace(out))
	}
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if name, figures := benchmarkLine(lines.Text()); name != "" {
			found++
			tell(name, figures)
		}
	}
	if found == 0 {
		return fmt.Errorf("%s has no benchmark that matches %s", pkg, pattern)
	}
	return nil
}

// benchmarkLine reads one line of go test -bench: the name as a figure has it, and its figures by unit. Any other
// line has no name.
func benchmarkLine(line string) (string, map[string]float64) {
	words := strings.Fields(line)
	if len(words) < 4 || len(words)%2 != 0 || !strings.HasPrefix(words[0], "Benchmark") {
		return "", nil
	}
	figures := map[string]float64{}
	for i := 2; i < len(words); i += 2 {
		v, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return "", nil
		}
		figures[words[i+1]] = v
	}
	name := regexp.MustCompile(`-\d+$`).ReplaceAllString(strings.TrimPrefix(words[0], "Benchmark"), "")
	var out strings.Builder
	for i, r := range name {
		switch {
		case r == '/':
			out.WriteByte('_')
		case unicode.IsUpper(r):
			if i > 0 {
				out.WriteByte('_')
			}
			out.WriteRune(unicode.ToLower(r))
		default:
			out.WriteRune(r)
		}
	}
	return out.String(), figures
}
