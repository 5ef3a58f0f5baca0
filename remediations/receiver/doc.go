// Package receiver is the second lock: it lets an executor obey an Evenkeel cluster without having to trust it
// blindly.
//
// [New] returns an http.Handler. It calls Apply only for a command whose signature holds, whose timestamp is
// fresh, that comes from a cluster it obeys, that has not expired and that no newer command has overtaken - and
// only when Check, your own rule, agrees. Apply is told a desired state ("this subject at 50 % of normal"), never
// a toggle, and may be told it again after a crash: it must be idempotent.
//
// # Fencing
//
// A token (epoch, seq) only grows within a cluster id. The two halves are compared over different things:
//
//   - the epoch per cluster. A higher epoch means that an operator declared the old incarnation of the ledger dead;
//     from the first command of the new one on nothing older is obeyed, whatever it is about.
//   - the seq per subject, where subjects that contain each other count as one: a whole site overlaps all its
//     services, a service all its units. It must not be compared per cluster: seq is the ledger's revision, and two
//     unrelated commands may well arrive in the other order - a first attempt for checkout that met a 503 must not
//     be refused as stale because a command for search arrived meanwhile.
//
// The token is on disk (write, fsync, rename, fsync of the directory) before Apply is called, and the answer after
// it. A crash between leaves a token without an answer: the same command is then applied again, and nothing older
// ever. A refused command keeps its token too: it was the newest word about the subject. When the state cannot be
// written nothing is applied (503). One Receiver has one state file, locked from [New] to [Receiver.Close]; a file that
// is damaged, or that another one holds, is an error of New.
//
// # Repeats
//
// The command that a subject obeyed last gets the same answer again, without Apply, when its webhook-id comes back,
// or when the token and the desired state are equal. While Apply is still running a repeat is answered 202. A command
// that Apply only accepted is applied again on each repeat, which is how the sender polls. A repeat of an older
// command is stale.
//
// # Answers
//
//	200 {"state":"done","weight":0}                          412 {"error":"refused","refused_by":"last-site","detail":..}
//	202 {"state":"accepted"}                                 409 {"error":"stale","current":{cluster_id,epoch,seq}}
//	401 {"error":"signature"}  signature or timestamp        410 {"error":"expired"}  not_after has passed
//	403 {"error":"unknown_cluster"}                          425 {"error":"too_early"}  before not_before, Retry-After
//	400, 405, 413  not a command, not a POST, too large      503 {"error":"failed"}  Apply or the disk failed: come again
//
// A signed question of type executor.preflight is answered 200 with the tokens that are held ("preflight":{obeys, epochs,
// subjects}): an operator asks so before a restored ledger commands. It changes nothing.
//
// A dry run passes every check, calls Check and never Apply, moves no token and is answered with "dry_run":true.
package receiver
