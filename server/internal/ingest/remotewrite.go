package ingest

import (
	"errors"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// remoteWrite takes Prometheus remote write 1. What is valid in a request is stored even when the answer is
// 400: senders do not repeat such a request.
func (d *Door) remoteWrite(w http.ResponseWriter, r *http.Request, caller core.Credential) error {
	content, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	proto := params["proto"]
	version := r.Header.Get("X-Prometheus-Remote-Write-Version")
	if (content != contentProtobuf && content != "") || (proto != "" && proto != "prometheus.WriteRequest") ||
		(version != "" && !strings.HasPrefix(version, "0.") && !strings.HasPrefix(version, "1.")) {
		return &refusal{
			http.StatusUnsupportedMediaType, core.CodeInvalid, "only remote write 1 is taken",
			"set the sender to prometheus.WriteRequest",
		}
	}
	if e := r.Header.Get("Content-Encoding"); e != "snappy" && e != "" {
		return &refusal{http.StatusUnsupportedMediaType, core.CodeInvalid, "the content encoding is not taken", "send snappy"}
	}
	raw, err := d.readBody(w, r)
	if err != nil {
		return err
	}
	if len(raw)*4 > lightBytes {
		leave, err := d.enterHeavy(r.Context())
		if err != nil {
			return err
		}
		defer leave()
	}
	raw, err = unsnappy(raw, d.o.Limits.Decoded)
	if err != nil {
		return err
	}
	b := d.newBatch(caller)
	defer d.release(b)
	if err := b.writeRequest(raw); err != nil {
		return malformed("the body is not a remote write request")
	}
	if err := b.finish(r.Context()); err != nil {
		return storeError(err)
	}
	if b.refused.total() > 0 {
		return &refusal{http.StatusBadRequest, core.CodeInvalid, b.refused.sentence(), "the rest was stored: do not send it again"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var errWire = errors.New("not a protobuf message")

// fields calls f for each field of a message. Fields of other wire types than f expects are f's to ignore.
func fields(msg []byte, f func(num protowire.Number, kind protowire.Type, bytes []byte, number uint64) error) error {
	for len(msg) > 0 {
		num, kind, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errWire
		}
		msg = msg[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(msg)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(msg)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(msg)
		default:
			n = protowire.ConsumeFieldValue(num, kind, msg)
		}
		if n < 0 {
			return errWire
		}
		msg = msg[n:]
		if err := f(num, kind, value, number); err != nil {
			return err
		}
	}
	return nil
}

// text is the bytes as a string, without a copy: they are never written again.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// writeRequest reads prometheus.WriteRequest: 1 is a time series, the rest is metadata.
func (b *batch) writeRequest(raw []byte) error {
	b.base = b.stamp(b.base[:0])
	return fields(raw, func(num protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		if num != 1 || kind != protowire.BytesType {
			return nil
		}
		return b.timeSeries(value)
	})
}

// timeSeries reads prometheus.TimeSeries: 1 label, 2 sample, 3 exemplar, 4 native histogram.
func (b *batch) timeSeries(raw []byte) error {
	labels := append(b.scratch[:0], b.base...)
	var name string
	var foreign, unnamed bool
	var samples, histograms int
	err := fields(raw, func(num protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		switch {
		case kind != protowire.BytesType:
			return nil
		case num == 2:
			samples++
			return nil
		case num == 4:
			histograms++
			return nil
		case num != 1:
			return nil
		}
		var l core.Label
		if err := fields(value, func(num protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
			switch {
			case kind == protowire.BytesType && num == 1:
				l.Name = text(value)
			case kind == protowire.BytesType && num == 2:
				l.Value = text(value)
			}
			return nil
		}); err != nil {
			return err
		}
		switch l.Name {
		case "":
			unnamed = true
		case "__name__":
			name = l.Value
		default:
			labels = b.setLabel(labels, l.Name, l.Value, &foreign)
		}
		return nil
	})
	b.scratch = labels
	if err != nil {
		return err
	}
	b.refuse(refusedNativeHistogram, histograms)
	if samples == 0 {
		return nil
	}
	if foreign {
		b.replaced += samples
	}
	fact, duration := factKind(name), isDuration(name)
	var about point
	if fact != core.FactUnknown || duration {
		for _, l := range labels {
			about.set(l.Name, l.Value)
		}
		if fact == core.FactProbe {
			labels = dropLabel(labels, "reason")
		}
	}
	why, ok := refusedLabels, !unnamed
	switch {
	case !b.allowed(name):
		why, ok, fact, duration = refusedNotAllowed, false, core.FactUnknown, false
	case ok:
		why, ok = b.checkLabels(name, labels)
	}
	var kept []core.Label
	return fields(raw, func(num protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		if num != 2 || kind != protowire.BytesType {
			return nil
		}
		var v float64
		var ms int64
		if err := fields(value, func(num protowire.Number, kind protowire.Type, _ []byte, number uint64) error {
			switch {
			case num == 1 && kind == protowire.Fixed64Type:
				v = math.Float64frombits(number)
			case num == 2 && kind == protowire.VarintType:
				ms = int64(number)
			}
			return nil
		}); err != nil {
			return err
		}
		if math.Float64bits(v) == staleMarker {
			b.stale++
			return nil
		}
		if r, ok := checkValue(v); !ok {
			b.refuse(r, 1)
			return nil
		}
		if fact != core.FactUnknown {
			b.addFact(fact, &about, v, time.UnixMilli(ms))
		} else if duration {
			b.addDuration(&about, v, time.UnixMilli(ms))
		}
		if !ok {
			b.refuse(why, 1)
			return nil
		}
		if r, ok := b.checkTime(ms); !ok {
			b.refuse(r, 1)
			return nil
		}
		if kept == nil {
			kept = b.keep(labels)
		}
		b.samples = append(b.samples, core.Sample{Name: name, Labels: kept, Value: v, AtMS: ms})
		return nil
	})
}

func dropLabel(labels []core.Label, name string) []core.Label {
	out := labels[:0]
	for _, l := range labels {
		if l.Name != name {
			out = append(out, l)
		}
	}
	return out
}
