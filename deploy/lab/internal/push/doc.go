// Package push hands the lab's own measurements to an OTLP/HTTP endpoint: counters and histograms that live in
// memory, and a loop that sends them as protobuf. A failed push is no loss: the next one carries the same sums.
package push
