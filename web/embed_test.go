package web

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFilesAlwaysHaveAPage(t *testing.T) {
	b, err := fs.ReadFile(Files(), "index.html")
	if err != nil || !strings.Contains(string(b), "<title>Evenkeel</title>") {
		t.Fatalf("%v: %.200s", err, b)
	}
}

func TestTheBuildWinsOverTheFallback(t *testing.T) {
	f := func(built fstest.MapFS, want string) {
		t.Helper()
		b, err := fs.ReadFile(files(built, fallback), "index.html")
		if err != nil || !strings.Contains(string(b), want) {
			t.Fatalf("%v: %.200s, want %q", err, b, want)
		}
	}
	f(fstest.MapFS{"dist/.gitkeep": {}}, "npm run build")
	f(fstest.MapFS{"dist/index.html": {Data: []byte("the page")}}, "the page")
}

// The page runs under Content-Security-Policy: default-src 'self'.
func TestNothingIsInline(t *testing.T) {
	err := fs.WalkDir(Files(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".html") {
			return err
		}
		b, err := fs.ReadFile(Files(), path)
		if err != nil {
			return err
		}
		for _, bad := range []string{"<style", " style=", "<script>", " onclick", " onload", "http://", "https://"} {
			if strings.Contains(string(b), bad) {
				t.Errorf("%s contains %q", path, bad)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
