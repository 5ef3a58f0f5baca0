// Package kafka tells how far a consumer group or MirrorMaker 2 is behind, and never claims more than it proves.
//
// It was never run against a real Kafka: its tests use kfake, an imitation of a broker in the test's process.
//
// # Consumer groups
//
// A link with a channel is a consumer group that carries records from one site to another, looked at in the cluster from which
// it reads. Committed offsets are fetched first, then the ends and starts of the logs, so that a difference is never
// negative; what was committed before the ends were read, and reaches them, was complete then. Of each partition that is
// behind the first unread record is fetched: its age is the lag.
//
//   - With message.timestamp.type=LogAppendTime the broker stamped it, and its age bounds the lag from both sides.
//   - With CreateTime the producer did, before the record was sent: its age is an upper bound, if the producer's clock can be
//     trusted. The lower bound is since when the agent itself knows the record to be there.
//
// Kafka tells no clock of its own: both compare with the agent's clock.
//
// A partition without a committed offset is not read, and that is not a lag of 0: all that it holds is counted, and the link is
// not_measured at best. Offsets that were committed below the start of the log point to records that are gone (reason lost,
// kafka.messages.lost). Offsets beyond the end are of a topic that was made anew (reason disagree).
//
// Whether the group works is judged by rules as Burrow has them, over the last ten looks: an offset that does not move while
// records wait is stop without members and stall with them, which both are applier_stopped; one that goes back is rewind, a lag
// that never falls is warning (metric kafka.group.status). Offsets cannot tell a group that is stuck from one that has been
// working on the same batch for ten looks.
//
// # MirrorMaker 2
//
// A link without a channel is MirrorMaker 2, looked at in the target's cluster: the newest record in <alias>.heartbeats, which
// it writes at the source each second and copies like any other topic. All that was written to the source before it was stamped
// may be there: topics are copied by several tasks, and the heartbeat speaks for its own. It compares the clock of the host that
// runs MirrorMaker with the agent's. The link is down when no new heartbeat came for a while; one that is old but followed by
// newer ones says that the link catches up. The lower bound holds only while the source can be written.
//
// Its source's end, in the source's cluster, is told by the echo of our heartbeat alone: what is exposed, and no state.
//
// # Our heartbeat
//
// Besides MirrorMaker's, which say nothing to the source, the agent may keep its own: each site's agent writes a beat, and the echoes of
// the beats that came here, into one topic of its own cluster, which MirrorMaker copies as <alias>.<topic>. The topic has
// one partition, so that there is an order, and holds nothing else; it is compacted, with one key for the beat of a site
// (hb.SITE) and one for each echo (echo.OBSERVER.ORIGIN). Its name has no ".", which MirrorMaker would take for the end of an alias.
// A beat speaks for its own topic, as MirrorMaker's does. A beat is written when all replicas in sync have it. Kafka has no write
// that compares: two writers of one site find each other when they read, which each does before it writes.
//
// # Versions
//
// From 0.11 on, as the driver needs. The heartbeats of MirrorMaker 2 since Kafka 2.4. DefaultReplicationPolicy with the separator
// "." is assumed. Groups of the protocol of KIP-848 tell their members in a way that is not asked: only their offsets count.
//
// # Least privilege
//
//	kafka-acls --add --allow-principal User:evenkeel --operation Describe --group NAME
//	kafka-acls --add --allow-principal User:evenkeel --operation Read --operation Describe --topic NAME
//
// Read of the topics is for the first unread record. Nothing is committed, and no group is joined. The account of the heartbeat
// needs as much as HeartbeatSetUp says and no more: neither IdempotentWrite nor anything of a group.
//
// # What cannot be known
//
// Whether what a group committed is where it has to be. When an offset was committed: the protocol does not tell. What a group
// of which nothing was ever committed has read.
//
// Sources: Kafka's documentation, "Authorization and ACLs" and "Geo-Replication"; the protocol guide; Heartbeat.java of
// connect/mirror-client; Burrow's wiki, "Consumer Lag Evaluation Rules".
package kafka
