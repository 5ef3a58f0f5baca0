package api

import (
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// page answers everything that has no route: files of the web page, the page itself for its own addresses,
// and 404 for the rest.
func (s *server) page(c *gin.Context) {
	if name, ok := s.file(c.Request); ok {
		// Built files carry a hash in their name; the page that names them must be asked for each time.
		if strings.HasPrefix(name, "assets/") {
			c.Header("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			c.Header("Cache-Control", "no-cache")
		}
		c.Status(http.StatusOK)
		http.ServeFileFS(c.Writer, c.Request, s.Web, name)
		return
	}
	respond(c, http.StatusNotFound, &core.Error{
		Code: core.CodeNotFound, Message: "there is nothing at " + c.Request.URL.Path,
		Hint: "the page is at /, the API is described at /api/v1/openapi.yaml",
	})
}

// file is the file of the page that answers a request.
func (s *server) file(r *http.Request) (string, bool) {
	if s.Web == nil || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return "", false
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	for _, prefix := range []string{"api", "prometheus", "v1"} {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			return "", false
		}
	}
	if info, err := fs.Stat(s.Web, name); name != "" && err == nil && !info.IsDir() {
		return name, true
	}
	if name != "" && (path.Ext(name) != "" || !strings.Contains(r.Header.Get("Accept"), "text/html")) {
		return "", false
	}
	if _, err := fs.Stat(s.Web, "index.html"); err != nil {
		return "", false
	}
	return "index.html", true
}
