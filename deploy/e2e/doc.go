// Package e2e is the stranger: it starts the real programs, breaks sites, and believes only what it reads over HTTP.
//
// It knows nothing of the server's insides: answers are decoded into small structs of its own, and an answer that
// does not fit them is a failure. The tests show what the product promises; the harness beside them (programs,
// labs, a server alone, stand-ins for agents, edge and executor) serves the benchmarks as well.
//
// Ports are free ones below the ephemeral range, data lies in folders of the caller, and everything that was
// started ends with its owner: Stop says what is left.
package e2e
