package ingest

import (
	"encoding/binary"
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
	wire, plain := d.buffers.get(), d.buffers.get()
	defer d.buffers.put(wire)
	defer d.buffers.put(plain)
	raw, err := d.readBody(w, r, wire)
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
	raw, err = unsnappy(raw, d.o.Limits.Decoded, plain)
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

// label reads prometheus.Label. The common layout, name then value and both short, is read without a loop.
func label(raw []byte) (core.Label, error) {
	if len(raw) > 4 && raw[0] == 1<<3|2 && raw[1] < 0x80 {
		at := 2 + int(raw[1])
		if at+2 <= len(raw) && raw[at] == 2<<3|2 && raw[at+1] < 0x80 && at+2+int(raw[at+1]) == len(raw) {
			return core.Label{Name: text(raw[2:at]), Value: text(raw[at+2:])}, nil
		}
	}
	var l core.Label
	err := fields(raw, func(num protowire.Number, kind protowire.Type, value []byte, _ uint64) error {
		switch {
		case kind == protowire.BytesType && num == 1:
			l.Name = text(value)
		case kind == protowire.BytesType && num == 2:
			l.Value = text(value)
		}
		return nil
	})
	return l, err
}

// sampleOf reads prometheus.Sample, the common layout without a loop.
func sampleOf(raw []byte) (v float64, ms int64, err error) {
	if len(raw) > 10 && raw[0] == 1<<3|1 && raw[9] == 2<<3 {
		if t, n := protowire.ConsumeVarint(raw[10:]); n == len(raw)-10 {
			return math.Float64frombits(binary.LittleEndian.Uint64(raw[1:9])), int64(t), nil
		}
	}
	err = fields(raw, func(num protowire.Number, kind protowire.Type, _ []byte, number uint64) error {
		switch {
		case num == 1 && kind == protowire.Fixed64Type:
			v = math.Float64frombits(number)
		case num == 2 && kind == protowire.VarintType:
			ms = int64(number)
		}
		return nil
	})
	return v, ms, err
}

// writeRequest reads prometheus.WriteRequest: 1 is a time series, the rest is metadata.
func (b *batch) writeRequest(raw []byte) error {
	b.base = b.stamp(b.base[:0])
	for len(raw) > 0 {
		num, value, rest, err := field(raw)
		if err != nil {
			return err
		}
		raw = rest
		if num == 1 {
			if err := b.timeSeries(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// field takes the first field off a message. Fields that are not length-delimited are skipped: num is 0.
func field(msg []byte) (num protowire.Number, value, rest []byte, err error) {
	// One byte of tag and one or two of length, as nearly always.
	if len(msg) > 2 && msg[0] < 0x80 && msg[0]&7 == byte(protowire.BytesType) && msg[0] >= 8 {
		size, at := int(msg[1]), 2
		if size >= 0x80 && msg[2] < 0x80 {
			size, at = size&0x7f|int(msg[2])<<7, 3
		}
		if (at == 3 || size < 0x80) && size <= len(msg)-at {
			return protowire.Number(msg[0] >> 3), msg[at : at+size], msg[at+size:], nil
		}
	}
	num, kind, n := protowire.ConsumeTag(msg)
	if n < 0 {
		return 0, nil, nil, errWire
	}
	if kind == protowire.BytesType {
		value, m := protowire.ConsumeBytes(msg[n:])
		if m < 0 {
			return 0, nil, nil, errWire
		}
		return num, value, msg[n+m:], nil
	}
	m := protowire.ConsumeFieldValue(num, kind, msg[n:])
	if m < 0 {
		return 0, nil, nil, errWire
	}
	return 0, nil, msg[n+m:], nil
}

// timeSeries reads prometheus.TimeSeries: 1 label, 2 sample, 3 exemplar, 4 native histogram.
func (b *batch) timeSeries(raw []byte) error {
	labels := append(b.scratch[:0], b.base...)
	points := b.points[:0]
	var name string
	var foreign, unnamed bool
	var histograms int
	for len(raw) > 0 {
		num, value, rest, err := field(raw)
		if err != nil {
			return err
		}
		raw = rest
		switch num {
		case 1:
			l, err := label(value)
			if err != nil {
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
		case 2:
			points = append(points, value)
		case 4:
			histograms++
		}
	}
	b.scratch, b.points = labels, points
	samples := len(points)
	b.refuse(refusedNativeHistogram, histograms)
	if samples == 0 {
		return nil
	}
	if foreign {
		b.replaced += samples
	}
	fact, duration, figure := factKind(name), isDuration(name), figureOf(name)
	var about point
	if fact != core.FactUnknown || duration || figure != linkNoFigure {
		b.writer = ""
		for _, l := range labels {
			about.set(l.Name, l.Value)
			if l.Name == labelInstance || (l.Name == labelScraped && b.writer == "") {
				b.writer = l.Value
			}
		}
		b.writer = strings.Clone(b.writer)
		if fact == core.FactProbe || fact == core.FactLink {
			labels = dropLabel(labels, "reason")
		}
	}
	why, ok := refusedLabels, !unnamed
	switch {
	case !b.allowed(name):
		why, ok, fact, duration = refusedNotAllowed, false, core.FactUnknown, false
		figure = linkNoFigure
	case ok:
		why, ok = b.checkLabels(name, labels)
	}
	var kept []core.Label
	for _, value := range points {
		v, ms, err := sampleOf(value)
		if err != nil {
			return err
		}
		if math.Float64bits(v) == staleMarker {
			b.stale++
			continue
		}
		if r, ok := checkValue(v); !ok {
			b.refuse(r, 1)
			continue
		}
		switch at := time.UnixMilli(ms); {
		case fact != core.FactUnknown:
			b.addFact(fact, &about, v, at)
		case duration:
			b.addDuration(&about, v, at)
		case figure != linkNoFigure:
			b.addFigure(figure, &about, v, at)
		}
		if !ok {
			b.refuse(why, 1)
			continue
		}
		if r, ok := b.checkTime(ms); !ok {
			b.refuse(r, 1)
			continue
		}
		if kept == nil {
			kept = b.keep(labels)
		}
		b.samples = append(b.samples, core.Sample{Name: name, Labels: kept, Value: v, AtMS: ms})
	}
	return nil
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
