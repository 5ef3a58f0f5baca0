// Recordings makes a labelled data set of failing sites: it starts a lab, changes the load, breaks sites at times that
// follow from a seed, and writes down what a detector would have seen at each step.
//
//	recordings record -for 65m -seed 1 -journal data/recordings/1 -out data/recordings/set
//	recordings export -out data/recordings/set data/recordings/1 data/recordings/2     at any time, also while one runs
package main
