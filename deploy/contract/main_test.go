package contract

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// update rewrites names.md from what the run shows.
var update = flag.Bool("update", false, "rewrite names.md")

// folder is where the binaries are.
var folder = filepath.Join("..", "..", "bin")

// TestMain takes the binaries that `make build` has left, or those of the folder EVENKEEL_BIN. Where one is missing
// all are built, without the page's own build.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if given := os.Getenv("EVENKEEL_BIN"); given != "" {
		folder = given
	}
	for name := range programs() {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			continue
		}
		tmp, err := os.MkdirTemp("", "evenkeel-contract-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(tmp)
		if err := buildAll(tmp); err != nil {
			fmt.Fprintln(os.Stderr, "contract: the binaries cannot be built:", err)
			return 1
		}
		folder = tmp
		break
	}
	abs, err := filepath.Abs(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	folder = abs
	return m.Run()
}

// programs are the binaries and the packages they are made of.
func programs() map[string]string {
	return map[string]string{"evenkeel-server": "./server", "evenkeel-agent": "./agent", "evenkeel-agent-scraper": "./agent", "evenkeel-lab": "./deploy/lab"}
}

func buildAll(to string) error {
	for name, pkg := range programs() {
		if err := build(filepath.Join(to, name), pkg); err != nil {
			return err
		}
	}
	return nil
}

func build(out, pkg string) error {
	tags, err := tagsOf(filepath.Base(out))
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-tags", tags, "-o", out, pkg)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// tagsOf are the build tags that the Makefile gives a program.
func tagsOf(program string) (string, error) {
	if program != "evenkeel-agent-scraper" {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`(?m)^TAGS\s*\?= (\S+)$`).FindSubmatch(text)
	if found == nil {
		return "", errors.New("the Makefile has no TAGS")
	}
	return string(found[1]), nil
}

func binary(name string) string { return filepath.Join(folder, name) }
