// Package storageextension is the Collector's file storage for queues that outlive a full disk.
//
// The Collector's queue gives an item up when it cannot write down that it is being sent, and counts nothing. With
// this storage an item that can be read is sent: what could not be written down is made good with the next write. An
// end of the agent before that sends such items once more. New items are refused, as before, and a few megabytes are
// kept back so that the queue can go on with those it has.
//
// A queue that keeps pace costs one commit an item: the item is handed out from memory, and that it was taken up and is done with is
// written down together with the next one.
package storageextension
