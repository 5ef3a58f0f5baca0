package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// bounded reads the body of an order within its limit and refuses what the document does not know: a
// misspelt field must not fall back to a default.
func bounded(c *gin.Context) {
	if c.Request.Method != http.MethodPost {
		c.Request.Body = http.NoBody
		return
	}
	if kind, _, err := mime.ParseMediaType(c.ContentType()); err != nil || kind != "application/json" {
		respond(c, http.StatusUnsupportedMediaType, invalid("the body is not JSON", "send Content-Type: application/json"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		badRequest(c, err)
		return
	}
	if err := checkBody(c.FullPath(), body); err != nil {
		badRequest(c, err)
		return
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
}

func checkBody(route string, body []byte) error {
	var into any
	switch route {
	case base + "/commands":
		into = &CommandRequest{}
	case routeChanges:
		into = &ChangeRequest{}
	case routeChangesEnd:
		into = &ChangeEndRequest{}
	case routeFeedback:
		into = &FeedbackRequest{}
	case base + "/tokens":
		into = &TokenRequest{}
	case base + "/replicas":
		into = &ReplicaRequest{}
	case base + "/adopt":
		into = &AdoptRequest{}
	default:
		return &core.Error{Code: core.CodeInternal, Message: "no body is expected here"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}
