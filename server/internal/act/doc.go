// Package act is the hand: it does what the ledger says, once, and then looks whether it helped. It decides nothing.
//
// # Delivery
//
// An intent becomes one remediations.Request with one idempotency key and the fencing token (cluster, epoch,
// ledger revision of the intent). The first attempt goes out at once; after a transient failure the next ones
// follow after 2, 5, 10, 20, 30, 30 ... seconds plus up to a fifth, not sooner than the executor's Retry-After, and
// none begins after not_after. One last attempt is moved forward to just before not_after. Then the intent is expired;
// it is never called expired while not_after lies ahead.
//
// An attempt whose outcome is unknown (silence after it was sent) is first answered by the world: while the edge
// shows the wanted weight, or a share that it did not show before, the step counts as done and nothing is
// sent again. Only when the edge does not show it is the same id sent once more. The same holds for an intent
// that a restart finds past its not_after.
//
// An executor that only accepted is asked again with the same id until it says done or not_after passes.
//
// A newer intent to the same target about the same users (a rollback, the opposite order of an operator) ends an older one
// that is still under way: nothing more is sent, looked at or reported of it.
//
// # Verification
//
// Done is the executor's word. Whether it helped is measured at the edge, on data that was counted wholly after the
// executor said done: with a view that has TrafficSince by asking for exactly that, else by waiting until
// the edge's time is past done by the whole window of its figures (Timing.EdgeWindow). For an intent that
// arrives already delivered, which is what a restart makes of it, done is taken to be now. Two consecutive
// looks at different data must agree; once Within has passed (at least 5 s, so that the edge can report at all) the
// newest look decides alone. When that one is bad the step is ineffective, with the numbers before and after;
// without data of the last 5 s it cannot be told, which is not success.
//
// A whole site is measured over all its services together; of a unit the edge says nothing.
//
//   - Weight: where the edge reports one it must be the wanted one, to a percent.
//   - Share: of the newest window. Without any request of any user a share says nothing. ShareAbove that would
//     expect less than five requests in the window wants at least one.
//   - Success: of the site's requests, or of all users' when the wanted weight is 0. Looks are pooled back in
//     time, without overlap, until they hold ten requests. The step fails when the failures are more than
//     chance allows by an exact one-sided binomial test at 5 % against the wanted rate: 1 failure in 100
//     does not disprove 99.9 %, 2 do. With fewer than ten requests the judgement waits until Within; with none
//     it cannot be told.
//   - A step that asks for nothing: weight 0 wants a share below 1 %, any other the weight that the edge reports.
//
// # No circuit breaker
//
// A breaker protects a service from its callers' load and callers from waiting. Here there are a handful of
// attempts per action, each in its own goroutine, and the guards bound the actions per hour. An open breaker would
// do the one thing that must not happen: keep the first attempt of a new action from being made. So there is none;
// the schedule and Retry-After are the protection.
//
// # Notices
//
// Notices of one deduplication key go out in order, one at a time, and are tried for a day. A resolve cancels the
// notices before it that are not out yet, and is sent all the same: an earlier process may have opened the
// alert, and one without an alert is dropped by the other side. An update that waits is replaced by a newer one.
//
// # Callbacks and closing
//
// Abandon does the same without an end: a replica that no longer leads lets go of everything, and may lead again
// later. Just before each attempt the hand asks whether it still may; what it sends all the same carries the token of an
// intent that the next leader repeats with the same id.
//
// Outcomes and NoticeOutcomes are called from the hand's goroutines, in order for one intent or key, and
// may block. After Close has begun nothing is reported any more: what was under way is performed again, with the same
// id, by whoever reads the ledger next. Whoever receives outcomes must bear to hear one twice: an intent that is
// performed again while it is known here does not run again, its outcomes are repeated.
package act
