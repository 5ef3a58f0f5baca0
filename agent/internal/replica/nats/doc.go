// Package nats tells what one end of a NATS JetStream mirror or source shows, and never claims more than it proves.
//
// # What is read
//
// STREAM.INFO of the copy, of its origin and of the copy again, and, when the copy lacks something, the origin's first message
// after that (STREAM.MSG.GET) and the copy's STREAM.INFO once more. Leaders answer; direct gets, which a follower or a mirror
// may answer, are not used. The order makes the answers comparable: a copy that has what its origin had a moment before
// was complete then. Servers from 2.10 on: they stamp their answers with their clock.
//
// The lag in time is the age of the first missing message by the clock of the origin's server alone. Messages that were
// deleted at the origin are not missing; those that it removed before they were copied are counted (nats.messages.lost,
// reason lost) and will never come.
//
// A mirror keeps the sequences of its origin. A stream with sources does not: from 2.15 on the server tells the origin's
// sequence of what it has stored; before, it is read from the header Nats-Stream-Source of the newest message under the
// link's subjects and under the heartbeat's. When other sources write the same subjects, only the heartbeat's tells, and
// the position is then as old as the last heartbeat.
//
// # Whether the link is alive
//
// The server's own lag is not used: it changes only when a message arrives. Its "active" counts idle heartbeats, which
// come each second, but also each making of its own consumer, so that a mirror which tries in vain looks alive for a
// moment every ten seconds or more. A link that was down is therefore believed only when it is heard twice in short order,
// or a message arrives. A copy that was never looked at before is believed at once.
//
// # Least privilege
//
// For the account's user, with ORDERS the origin's stream and ORDERS-copy its copy, each at its own server:
//
//	permissions: {
//	  publish: ["$JS.API.STREAM.INFO.ORDERS", "$JS.API.STREAM.MSG.GET.ORDERS"]          # at the origin
//	  publish: ["$JS.API.STREAM.INFO.ORDERS-copy", "$JS.API.STREAM.MSG.GET.ORDERS-copy"] # at the copy
//	  subscribe: ["_INBOX_evenkeel.>"]
//	}
//
// Heartbeats have a user of their own: HeartbeatSetUp.
//
// Where another JetStream domain is asked, $JS.<domain>.API replaces $JS.API. MSG.GET returns whole messages: the user can
// read what is stored. MSG.GET at the copy is needed for streams with sources before 2.15 and for heartbeats only.
//
// # What cannot be known
//
// A copy whose origin is not in sight does not know what it lacks: the link is catching_up(not_measured) without bounds unless
// the origin's heartbeats are in the stream. With them it is caught_up while they come in time; one that does not come bounds the
// lag from above only, since its writer may have stopped. JetStream has no applier to stop. Streams that were made anew are noticed only
// when they were looked at before. The leader's clock may be another's after an election; its step is in the bounds for as long as
// messages of both are compared. A copy with two sources of the same stream is not supported.
//
// Sources: docs.nats.io, "Source and Mirror Streams", "JetStream wire API Reference" and "Subject-Based Access"; in the source
// of nats-server 2.15: processMirrorMsgs, setupMirrorConsumer, genSourceHeader, composeIName and sourcesInfo in stream.go.
package nats
