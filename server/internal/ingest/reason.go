package ingest

import (
	"fmt"
	"strings"
)

// reason is why a sample was not taken.
type reason uint8

const (
	refusedNaN reason = iota
	refusedInf
	refusedTooOld
	refusedFuture
	refusedTemporality
	refusedExponential
	refusedNativeHistogram
	refusedMalformed
	refusedName
	refusedLabels
	refusedSeries
	refusedNotAllowed
	reasons // how many there are
)

// label is the value of the reason label of evenkeel_ingest_refused_samples_total.
func (r reason) label() string {
	switch r {
	case refusedNaN:
		return "nan"
	case refusedInf:
		return "inf"
	case refusedTooOld:
		return "too_old"
	case refusedFuture:
		return "future"
	case refusedTemporality:
		return "temporality"
	case refusedExponential:
		return "exponential_histogram"
	case refusedNativeHistogram:
		return "native_histogram"
	case refusedMalformed:
		return "malformed"
	case refusedName:
		return "name"
	case refusedLabels:
		return "labels"
	case refusedSeries:
		return "too_many_series"
	case refusedNotAllowed:
		return "not_allowed"
	case reasons:
	}
	return "unknown"
}

// sentence says what was wrong and what would be right.
func (r reason) sentence() string {
	switch r {
	case refusedNaN:
		return "the value is NaN"
	case refusedInf:
		return "the value is infinite"
	case refusedTooOld:
		return "the time is before the retention"
	case refusedFuture:
		return "the time is more than 5 min ahead of the server: set the sender's clock"
	case refusedTemporality:
		return "the temporality is not cumulative: set the exporter's temporality preference to cumulative"
	case refusedExponential:
		return "exponential histograms are not taken: use explicit buckets"
	case refusedNativeHistogram:
		return "native histograms are not taken: send classic buckets"
	case refusedMalformed:
		return "the histogram's buckets do not fit its bounds"
	case refusedName:
		return "the metric has no usable name"
	case refusedLabels:
		return "too many or too long labels, or labels that are not UTF-8"
	case refusedSeries:
		return "this credential wrote too many different series today"
	case refusedNotAllowed:
		return "this kind of credential may not write this metric: edge tokens write evenkeel.edge.*, site tokens everything else"
	case reasons:
	}
	return "unknown"
}

// refusals counts by reason.
type refusals [reasons]int

func (f *refusals) total() int {
	n := 0
	for _, x := range f {
		n += x
	}
	return n
}

// sentence is the message of a partial success: each reason with its count.
func (f *refusals) sentence() string {
	var parts []string
	for r, n := range f {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s (%d)", reason(r).sentence(), n))
		}
	}
	return fmt.Sprintf("refused %d data points: %s", f.total(), strings.Join(parts, "; "))
}
