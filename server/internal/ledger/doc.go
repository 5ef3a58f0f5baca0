// Package ledger is the memory: what was judged, decided, commanded and done is on disk here before anybody acts on it.
//
// It is the only room that knows etcd. One member runs inside this process, without any listener: no
// port, no socket; the client is a function call. Records are JSON, one key each, under /evenkeel/v1/.
//
// Who may write is settled by the fence, a key that every opening writes anew: a commit is one
// transaction that holds only while the fence is ours. The same fence settles what became of a commit
// that timed out: it is taken again before the next write or load, so the late one can never land.
package ledger
