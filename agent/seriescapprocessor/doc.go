// Package seriescapprocessor bounds how many different series pass: one label with a user's id in it must not cost
// the store its memory, nor the agent its own.
//
// A series that is known passes for as long as it is written; a new one passes while there is room. Histograms count
// as the series they become in the store. Values that no store takes (NaN, infinite) are dropped here, where it costs
// nothing, and counted apart. Facts do not come this way.
package seriescapprocessor
