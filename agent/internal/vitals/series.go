package vitals

// DropReason is why data points did not get as far as a queue.
type DropReason uint8

// Reasons to drop data points.
const (
	DropUnknown DropReason = iota
	OverCap                // their series would be one too many
	NoNumber               // NaN or infinite
)

// String is the value of the label.
func (r DropReason) String() string {
	switch r {
	case OverCap:
		return "cap"
	case NoNumber:
		return "not_a_number"
	case DropUnknown:
	}
	return "unknown"
}

// DropSeries counts data points that were dropped. n may be zero: the counter then exists.
func (v *Vitals) DropSeries(r DropReason, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dropped == nil {
		v.dropped = map[DropReason]int64{}
	}
	v.dropped[r] += n
}

// DroppedSeries is what DropSeries has added up; ok is false while the counter does not exist.
func (v *Vitals) DroppedSeries(r DropReason) (n int64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, ok = v.dropped[r]
	return n, ok
}

// WatchSeries says who knows how many series are alive and may be; a nil read takes that back. read is called without a
// lock and must not block.
func (v *Vitals) WatchSeries(id string, read func() (alive, most int)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.series == nil {
		v.series = map[string]func() (int, int){}
	}
	if v.series[id] = read; read == nil {
		delete(v.series, id)
	}
}

// Series are the series that are alive and may be, over all who count; ok is false when nobody does.
func (v *Vitals) Series() (alive, most int, ok bool) {
	v.mu.Lock()
	reads := make([]func() (int, int), 0, len(v.series))
	for _, read := range v.series {
		reads = append(reads, read)
	}
	v.mu.Unlock()
	for _, read := range reads {
		a, m := read()
		alive, most = alive+a, most+m
	}
	return alive, most, len(reads) > 0
}
