// Package detect is the watchman: it asks the store on a schedule, judges every series by a model, and tells what it saw.
//
// It keeps no truth that it cannot recompute: after a start it replays the training window from the store. A
// question that was not answered is unknown, never normal.
package detect
