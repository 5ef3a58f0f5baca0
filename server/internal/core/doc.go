// Package core is the ground floor: the nouns every room speaks, and nothing that acts.
//
// Plain values only: standard library, no clock, no I/O, no goroutine. Every state enum has unknown
// as its zero value, and unknown is never treated as good. Absent is not zero: optional times and
// figures are pointers or carry a flag.
package core
