// Command bench is the stop-watch: it measures the real programs from outside, beside a peer where there is one,
// and judges nobody.
//
//	go run ./deploy/bench all|drain|peer|agent|server|ingest|decide
//
// Each figure is one line on standard output: name, value, unit. Everything else, also a goal that was missed, goes
// to standard error. The exit code says only whether everything could be measured. README.md says what the figures
// mean.
package main
