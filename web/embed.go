package web

import (
	"embed"
	"io/fs"
)

// dist is git-ignored except for its .gitkeep, which the build copies there from public, so that the pattern always
// matches and a build leaves no diff.
//
//go:embed all:dist
var dist embed.FS

//go:embed fallback/index.html
var fallback embed.FS

// Files are the files of the page, index.html at the root: the built ones, or the fallback where there are none.
func Files() fs.FS { return files(dist, fallback) }

func files(built, spare fs.FS) fs.FS {
	if _, err := fs.Stat(built, "dist/index.html"); err == nil {
		return sub(built, "dist")
	}
	return sub(spare, "fallback")
}

// sub cannot fail for a folder named here; if it did, the whole tree would be served.
func sub(f fs.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		return f
	}
	return s
}
