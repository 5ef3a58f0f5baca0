// Package replicatest is what the tests of the engines share: a wire between two servers that can fail, the daemons' accounts
// and folders, and the truth that what an engine reports is compared with. Only tests import it.
//
// The truth is kept by a harness that is no part of the product: a Journal notes when each write of a load was committed, and a
// Copy asks a copy over and over for the newest write that can be read there. From both follows the lag at any moment, with
// the uncertainty that is left by how long asking takes. Truth runs the load, makes the link fail by a script, and counts how
// often the reported bounds hold the true lag.
//
// The load also rests, up to a minute in a long run, and ends that with one write: nobody may take the time in which nothing was
// written for lag. What is said then is told apart.
//
// The run is as long as its script, some twenty seconds; with TRUTH=10m in the environment the script is repeated for that
// long. With TRUTH_BESIDE=1 the exporters of other makers are asked at the same moments.
package replicatest
