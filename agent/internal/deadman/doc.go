// Package deadman is the dead man's switch: it says when an agent pages by itself, because no server has answered
// for too long, and when that alert is to be closed.
//
// It asks nobody and sends nothing. Heartbeats and the answers of PagerDuty come in as values with their time, events
// to send and a record to keep on disk go out, so all of it can be tested without a clock.
//
// # What counts as an answer
//
// An [Answered] heartbeat is one that a server took. A [Refused] one (401, 403 and every other 4xx in Evenkeel's own
// words) proves that the control plane lives and does not hear this agent, which is an alarm of its own. Everything
// else is [Silent]: no connection, no answer in time, 5xx (a server whose own parts are broken is no control plane), and
// whatever a proxy or a portal says in a server's place.
//
// # What counts as time
//
// Only time in which servers were really asked: between two heartbeats to one server never more than [Rules].Gap is
// counted. A machine that was suspended, or a process that was stopped, has asked nobody meanwhile and accuses nobody.
//
// # Many agents, one incident
//
// All agents of an installation use one deduplication key per kind of alarm, so they fold into one incident. An
// agent closes it only when it has, or may have, opened it, and only after answers that last. As long as an agent sees
// the trouble it repeats its word every five minutes: the incident opens again when another agent, which sees
// better, has closed it.
package deadman
