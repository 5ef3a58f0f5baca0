// Package remediations is the outstretched hand: the words in which a command is given to something that can
// move users, and the words in which it answers.
//
// A [Target] is told a desired state, never a toggle, and makes one delivery attempt per call. Delivery is at
// least once on the wire and effective once: a request keeps its ID over all its attempts, and its [Fencing]
// token only grows. When to try again is the caller's business; the three error types say what is known:
//
//   - [Transient]: nothing was done, trying again may help (optionally not before RetryAfter);
//   - [Permanent]: nothing was done, trying again cannot help;
//   - [Unknown]: the request may have arrived. Look at the world before you send it again.
//
// An answer that is a decision of the executor (refused, stale, expired) is a [Receipt] and no error.
//
// The body on the wire is Standard Webhooks 1.0.0 with the data of [Data]. Package webhook sends it, package
// receiver is the executor's side of it, package remediationtest holds the contract tests for both.
package remediations
