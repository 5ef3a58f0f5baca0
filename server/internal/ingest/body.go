package ingest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// lightBytes is the decoded size up to which a body waits for nobody: facts must not queue behind bulk.
const lightBytes = 256 << 10

// maxBuffer is the largest buffer that is kept for the next request.
const maxBuffer = 4 << 20

// buffers are reused by requests. What is made of a body must not outlive the request.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { return &bytes.Buffer{} }}}
}

func (p *buffers) get() *bytes.Buffer { return p.pool.Get().(*bytes.Buffer) }

func (p *buffers) put(b *bytes.Buffer) {
	if b.Cap() <= maxBuffer {
		b.Reset()
		p.pool.Put(b)
	}
}

// readBody reads the body as it was sent, within the limit, into buf.
func (d *Door) readBody(w http.ResponseWriter, r *http.Request, buf *bytes.Buffer) ([]byte, error) {
	limit := d.o.Limits.Body
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 1<<20)) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		return nil, bodyError(err)
	}
	return buf.Bytes(), nil
}

func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
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

// unsnappy decompresses a block of at most limit bytes into buf. No block grows by more than its format allows, so a
// length that cannot be true is not believed.
func unsnappy(raw []byte, limit int64, buf *bytes.Buffer) ([]byte, error) {
	n, err := snappy.DecodedLen(raw)
	switch {
	case err != nil || int64(n) > int64(len(raw))*32:
		return nil, malformed("the body is not snappy")
	case int64(n) > limit:
		return nil, tooLarge()
	}
	buf.Grow(n)
	out, err := snappy.Decode(buf.AvailableBuffer()[:n], raw)
	if err != nil {
		return nil, malformed("the body is not snappy")
	}
	return out, nil
}
