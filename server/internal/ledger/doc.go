// Package ledger is the memory: what was judged, decided, commanded and done is on disk here before anybody acts on it.
//
// It is the only room that knows etcd. A server that is alone runs one member inside its process, without any
// listener: no port, no socket; the client is a function call. Of several replicas each runs a member, and the members
// speak mutual TLS to each other; or all of them call an etcd that somebody else runs. Records are JSON, one key each,
// under /evenkeel/v1/; what is only true now (who leads, what the replicas see, orders on their way) is under
// /evenkeel/live/ and wakes no watcher of the records.
//
// # Who writes
//
// The fence is a key that whoever begins to write writes anew, and a commit is one transaction that holds only while the
// fence is ours. The same fence settles what became of a commit that timed out: it is taken again before the next write
// or load, so the late one can never land. Alone, every opening takes the fence. Of several replicas the leader does:
// it proves itself by beats, and see timing for why two never lead at the same time. An order and its answer, tokens, the
// number of a topology, observations and an adoption are written by any replica, each guarded by what it was read at.
//
// # Who reads
//
// The API's reads are answered from the replica's own disk and go on without a majority; they may trail the leader by
// moments. Load, which is what decisions start from, goes through the majority.
//
// # Membership
//
// One replica begins a ledger (Bootstrap), every other one joins by a bundle that a member made for it (AddReplica, Join):
// as a learner, which gets its vote once it has caught up. A directory without a ledger and without either is
// refused, so that a replica that lost its disk cannot begin a second ledger.
//
// # Incarnations
//
// Commands carry (cluster id, epoch, revision). Revisions grow within one incarnation of the ledger; Restore and Adopt raise the
// epoch, and a restored ledger commands nothing until a person has adopted it.
package ledger
