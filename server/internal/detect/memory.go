package detect

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What a watch has learned is saved as records, one a series, or one a row where values are judged together. A record is what the
// watchman knows beside the models, as JSON, and then the snapshots of the models in a fixed order. Each stands behind its length.

// maxPiece is how long one piece of a record may be. A service of a thousand metrics has 17 MB.
const maxPiece = 1 << 30

// seriesMemory is a series without its models.
type seriesMemory struct {
	Labels  map[string]string
	Zone    string `json:",omitempty"` // of the civil time that its model goes by
	Live    bool   // the watch knows it; false: it was forgotten, and only its row remembers it
	LastAt  time.Time
	Verdict detectors.Verdict
	Unknown string `json:",omitempty"`
	Note    string `json:",omitempty"`
	Gone    time.Time
	Missed  time.Time
	Absent  bool
	Excused time.Time
	Cadence cadence
	Still   bool
	Back    time.Time

	Contributors []core.Contributor `json:",omitempty"`
	Past         *pastMemory        `json:",omitempty"`
}

// keptMemory is a kept without its models.
type keptMemory struct {
	On, Back bool
	Apart    [3]bool
	Since    time.Time
	Seen     int
	Out      int
}

// pastMemory is a past without its models.
type pastMemory struct {
	Kept      keptMemory
	ChangedAt time.Time
	Changed   *changedMemory `json:",omitempty"`
}

// changedMemory is a changed without its models.
type changedMemory struct {
	Change            Mark
	Stray             bool // there is a copy of the model from before
	Strayed, Old, New int
}

// rowMemory is a row without its models.
type rowMemory struct {
	Key    []byte   // no text: it has bytes that are none of UTF-8
	Places [][]byte // by place; empty: it is free
	Names  []string
	Of     []string
	Heard  []time.Time
	Paces  []cadence `json:",omitempty"`
	At     time.Time
	Kept   keptMemory
	Series []seriesMemory
}

// recorder writes records. After an error it writes nothing more.
type recorder struct {
	buf []byte
	err error
}

func (r *recorder) piece(b []byte, err error) {
	if r.err = errors.Join(r.err, err); r.err != nil {
		return
	}
	r.buf = binary.LittleEndian.AppendUint32(r.buf, uint32(len(b))) //nolint:gosec // far below 4 GB
	r.buf = append(r.buf, b...)
}

func (r *recorder) head(memory any) { r.piece(json.Marshal(memory)) }

func (r *recorder) model(m learner) { r.piece(m.Snapshot()) }

// series writes the record of a series that is judged by itself.
func (r *recorder) series(s *series, zone string) {
	r.head(s.memory(zone, true))
	p := s.past
	p.each(func(m detectors.Model) { r.model(m) })
	if c := p.changed; c != nil {
		r.model(c.model)
		if c.stray != nil {
			r.model(c.stray)
		}
	}
}

// row writes the record of a row.
func (r *recorder) row(key string, row *row, zone func(*series) string, live func(*series) bool) {
	m := rowMemory{Key: []byte(key), Places: make([][]byte, len(row.names)), Names: row.names, Of: row.of, Heard: row.heard, Paces: row.paces, At: row.at}
	for place, i := range row.places {
		m.Places[i] = []byte(place)
	}
	for _, s := range row.series {
		m.Series = append(m.Series, s.memory(zone(s), live(s)))
	}
	if row.whole != nil {
		m.Kept = row.whole.memory()
	}
	r.head(m)
	switch {
	case row.peers != nil:
		r.model(row.peers)
	case row.whole != nil:
		row.whole.each(func(m *detectors.Service) { r.model(m) })
	default:
		r.model(row.burn)
	}
}

func (s *series) memory(zone string, live bool) seriesMemory {
	m := seriesMemory{
		Labels: s.labels, Zone: zone, Live: live, LastAt: s.lastAt, Verdict: s.verdict, Unknown: s.unknown, Note: s.note,
		Gone: s.gone, Missed: s.missed, Absent: s.absent, Excused: s.excused, Cadence: s.cadence, Still: s.still, Back: s.back, Contributors: s.contributors,
	}
	if p := s.past; p != nil {
		m.Past = &pastMemory{Kept: p.memory(), ChangedAt: p.changedAt}
		if c := p.changed; c != nil {
			m.Past.Changed = &changedMemory{Change: c.change, Stray: c.stray != nil, Strayed: c.strayed, Old: c.old, New: c.new}
		}
	}
	return m
}

func (k *kept[M]) memory() keptMemory {
	return keptMemory{On: k.on, Back: k.back, Apart: k.apart, Since: k.since, Seen: k.seen, Out: k.out}
}

// reader reads records.
type reader struct {
	io.Reader
	buf []byte // of the last piece; its room is used again
}

// piece is the next piece; io.EOF when there is none.
func (r *reader) piece() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err //nolint:wrapcheck // io.EOF is the end
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxPiece {
		return nil, fmt.Errorf("a piece of %d bytes", n)
	}
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, r.buf); err != nil {
		return nil, fmt.Errorf("a piece is not whole: %v", err) //nolint:errorlint // io.EOF would be the end
	}
	return r.buf, nil
}

// head reads the first piece of a record; io.EOF when there is none.
func (r *reader) head(memory any) error {
	b, err := r.piece()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, memory); err != nil {
		return fmt.Errorf("what is known beside the models: %w", err)
	}
	return nil
}

func (r *reader) model(m learner) error {
	b, err := r.piece()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return m.Restore(b) //nolint:wrapcheck // it says what it is
}

// errFuture is of what was learned by a clock that was ahead. The models would take no value until that time comes.
var errFuture = errors.New("it is from a time that has not come yet")

// recall reads the records of all series, of which none may know what came after newest.
func (w *watcher) recall(from io.Reader, newest time.Time) (known map[string]*series, all rows, err error) {
	r := &reader{Reader: from}
	known, all = map[string]*series{}, w.watch.newRows()
	for err == nil {
		if all == nil {
			err = w.recallSeries(r, known)
		} else {
			err = w.recallRow(r, known, all)
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	for _, s := range known {
		if s.lastAt.After(newest) {
			return nil, nil, errFuture
		}
	}
	for _, r := range all {
		if r.at.After(newest) {
			return nil, nil, errFuture
		}
	}
	return known, all, nil
}

func (w *watcher) recallSeries(r *reader, known map[string]*series) error {
	var m seriesMemory
	if err := r.head(&m); err != nil {
		return err
	}
	s, err := w.recalled(m)
	if err != nil {
		return err
	}
	if m.Past == nil || known[s.key] != nil {
		return fmt.Errorf("series %v contradicts itself", m.Labels)
	}
	p := w.newPastOf(s)
	p.recall(m.Past.Kept)
	p.changedAt = m.Past.ChangedAt
	if c := m.Past.Changed; c != nil {
		p.changed = &changed{change: c.Change, model: p.fresh(), strayed: c.Strayed, old: c.Old, new: c.New}
		if c.Stray {
			p.changed.stray = p.fresh()
		}
	}
	p.each(func(m detectors.Model) { err = errors.Join(err, r.model(m)) })
	if c := p.changed; c != nil && err == nil {
		if err = r.model(c.model); err == nil && c.stray != nil {
			err = r.model(c.stray)
		}
	}
	s.past, known[s.key] = p, s
	return err
}

func (w *watcher) recallRow(r *reader, known map[string]*series, all rows) error {
	var m rowMemory
	if err := r.head(&m); err != nil {
		return err
	}
	if len(m.Series) == 0 {
		return fmt.Errorf("row %q has no series", m.Key)
	}
	first, err := w.recalled(m.Series[0])
	if err != nil {
		return err
	}
	row := w.watch.newRow(w.zone(first.subject.Site))
	judged := 1
	if row.peers != nil {
		judged = len(m.Names)
	}
	if n := len(m.Names); len(m.Places) != n || len(m.Heard) != n || len(m.Of) != n || len(m.Series) != judged || (row.whole != nil && len(m.Paces) != n) {
		return fmt.Errorf("row %q contradicts itself", m.Key)
	}
	for i, place := range m.Places {
		if len(place) > 0 {
			row.places[string(place)] = i
		}
	}
	row.names, row.of, row.heard, row.paces, row.at = m.Names, m.Of, m.Heard, m.Paces, m.At
	row.values, row.wrong = slices.Repeat([]float64{math.NaN()}, len(m.Names)), make([]string, len(m.Names))
	for _, one := range m.Series {
		s, err := w.recalled(one)
		if err != nil {
			return err
		}
		row.series = append(row.series, s)
		if one.Live {
			known[s.key] = s
		}
	}
	all[string(m.Key)] = row
	switch {
	case row.peers != nil:
		return r.model(row.peers)
	case row.whole != nil:
		row.whole.recall(m.Kept)
		row.whole.each(func(m *detectors.Service) { err = errors.Join(err, r.model(m)) })
		return err
	}
	return r.model(row.burn)
}

// recalled is a series without its models.
func (w *watcher) recalled(m seriesMemory) (*series, error) {
	key, written := seriesKey(w.watch.Name, m.Labels)
	s := newSeries(w.watch, key, written, m.Labels)
	if zone := w.zoneOf(s); zone != m.Zone {
		return nil, fmt.Errorf("the civil time of site %s is now %q and was %q", s.subject.Site, zone, m.Zone)
	}
	s.ours, s.lastAt, s.verdict, s.unknown, s.note = true, m.LastAt, m.Verdict, m.Unknown, m.Note
	s.gone, s.missed, s.absent, s.excused, s.cadence, s.still, s.back, s.contributors = m.Gone, m.Missed, m.Absent, m.Excused, m.Cadence, m.Still, m.Back, m.Contributors
	return s, nil
}

// recall takes what is known beside the models.
func (k *kept[M]) recall(m keptMemory) {
	k.on, k.back, k.apart, k.since, k.seen, k.out = m.On, m.Back, m.Apart, m.Since, m.Seen, m.Out
	if k.on {
		k.aside = k.fresh()
	}
}

// zoneOf is the name of the civil time that the model of a series goes by.
func (w *watcher) zoneOf(s *series) string {
	if zone := w.zone(s.subject.Site); zone != nil {
		return zone.String()
	}
	return ""
}
