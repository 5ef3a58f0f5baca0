package ingest

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// lightBytes is the decoded size up to which a body waits for nobody: facts must not queue behind bulk.
const lightBytes = 256 << 10

// readBody reads the body as it was sent, within the limit.
func (d *Door) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := d.o.Limits.Body
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 1<<20)) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		return nil, bodyError(err)
	}
	return buf.Bytes(), nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge()
	}
	return &refusal{http.StatusBadRequest, core.CodeInvalid, "the body broke off", "send it again"}
}

func tooLarge() error {
	return &refusal{http.StatusRequestEntityTooLarge, core.CodeTooLarge, "the body is too large", "send smaller batches"}
}

func malformed(what string) error {
	return &refusal{http.StatusBadRequest, core.CodeInvalid, what, "send it as its content type and encoding say"}
}

// gunzip decompresses up to limit bytes. full is false when there would be more.
func gunzip(raw []byte, limit int64) (out []byte, full bool, err error) {
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, false, malformed("the body is not gzip")
	}
	defer func() { _ = zr.Close() }()
	var buf bytes.Buffer
	buf.Grow(int(min(limit, int64(len(raw))*6)) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(zr, limit+1))
	switch {
	case n > limit:
		return nil, false, nil
	case err != nil:
		return nil, false, malformed("the gzip body is broken")
	}
	return buf.Bytes(), true, nil
}

// unsnappy decompresses a block of at most limit bytes. No block grows by more than its format allows, so a
// length that cannot be true is not believed.
func unsnappy(raw []byte, limit int64) ([]byte, error) {
	n, err := snappy.DecodedLen(raw)
	switch {
	case err != nil || int64(n) > int64(len(raw))*32:
		return nil, malformed("the body is not snappy")
	case int64(n) > limit:
		return nil, tooLarge()
	}
	out, err := snappy.Decode(nil, raw)
	if err != nil {
		return nil, malformed("the body is not snappy")
	}
	return out, nil
}
