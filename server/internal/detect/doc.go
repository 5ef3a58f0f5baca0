// Package detect is the watchman: it asks the store on a schedule, judges every series by a model, and tells what it saw.
//
// It keeps no truth that it cannot recompute: after a start it replays the training window from the store. That takes long, so what the models
// have learned is saved now and then, and a start goes on with it and replays what came since. A state that is damaged, too old, or of another
// definition or version is not used. It may be of several moments: each series says until when it knows, and takes nothing twice. A
// question that was not answered is unknown, never normal, and so is what has not been judged for three intervals because the
// watchman does not keep pace: it says so, and Behind names the watches. Some models judge several values at a time: all
// siblings, or all metrics of a subject. A value that is missing in such a row is missing, never zero.
//
// Replicas that share a store may share the work: each watch has one owner, and the others hear from the store what the
// owner has written back, one tick late. What no owner has judged for three intervals is unknown. So a watch that
// is asked more often than the store shows samples (a cluster: after about four seconds) has to be everybody's own.
// The owner changes without a word between the replicas: for a tick there may be two, which write nearly the same, or none.
package detect
