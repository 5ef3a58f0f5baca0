package ingest

import (
	"errors"
	"mime"
	"net/http"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	contentProtobuf = "application/x-protobuf"
	contentJSON     = "application/json"
)

// metricsOTLP takes an OTLP/HTTP export of metrics.
func (d *Door) metricsOTLP(w http.ResponseWriter, r *http.Request, caller core.Credential) error {
	content, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if content != contentProtobuf && content != contentJSON {
		return &refusal{
			http.StatusUnsupportedMediaType, core.CodeInvalid, "the content type is not taken",
			"send application/x-protobuf or application/json",
		}
	}
	limit := d.o.Limits.Decoded
	if content == contentJSON {
		limit = d.o.Limits.DecodedJSON
	}
	wire := d.buffers.get()
	defer d.buffers.put(wire)
	raw, err := d.readBody(w, r, wire)
	if err != nil {
		return err
	}
	light := true
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		if int64(len(raw)) > limit {
			return tooLarge()
		}
		light = len(raw) <= lightBytes
	case "gzip":
		out, full, err := gunzip(raw, min(lightBytes, limit))
		if err != nil {
			return err
		}
		if full {
			raw = out
			break
		}
		light = false
	default:
		return &refusal{http.StatusUnsupportedMediaType, core.CodeInvalid, "the content encoding is not taken", "send gzip or none"}
	}
	if !light {
		leave, err := d.enterHeavy(r.Context())
		if err != nil {
			return err
		}
		defer leave()
		if r.Header.Get("Content-Encoding") == "gzip" {
			out, full, err := gunzip(raw, limit)
			if err != nil {
				return err
			}
			if !full {
				return tooLarge()
			}
			raw = out
		}
	}

	b := d.newBatch(caller)
	b.fast = r.Header.Get("Evenkeel-Lane") == "fast"
	defer d.release(b)
	if err := b.otlp(raw, content == contentJSON); err != nil {
		if e, ok := errors.AsType[*refusal](err); ok {
			return e
		}
		return malformed("the body is not an OTLP export of metrics")
	}
	if err := b.finish(r.Context()); err != nil {
		return storeError(err)
	}
	return answerOTLP(w, content, &b.refused)
}

// storeError is what a sender is told when the store did not take the samples.
func storeError(err error) error {
	if core.Code(err) == core.CodeInvalid {
		detail := "the store refuses the samples"
		if e, ok := errors.AsType[*core.Error](err); ok {
			detail += ": " + e.Message
		}
		return &refusal{http.StatusBadRequest, core.CodeInvalid, detail, "send them without what is named"}
	}
	return &refusal{http.StatusServiceUnavailable, core.CodeUnavailable, "the store takes no samples just now", "send them again"}
}

// answerOTLP says what was taken, in the form that was sent.
func answerOTLP(w http.ResponseWriter, content string, refused *refusals) error {
	resp := pmetricotlp.NewExportResponse()
	if n := refused.total(); n > 0 {
		resp.PartialSuccess().SetRejectedDataPoints(int64(n))
		resp.PartialSuccess().SetErrorMessage(refused.sentence())
	}
	var body []byte
	var err error
	if content == contentJSON {
		body, err = resp.MarshalJSON()
	} else {
		body, err = resp.MarshalProto()
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", content)
	_, _ = w.Write(body)
	return nil
}
