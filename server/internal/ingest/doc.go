// Package ingest is the door: what agents and edges say comes in here, checked, stamped and bounded.
//
// It takes OTLP/HTTP metrics (protobuf and JSON), Prometheus remote write 1, heartbeats and the agents' long
// poll. A credential writes under its own name only: `site` is stamped, never believed. What cannot be stored
// as it is (NaN, Inf, too old, too far ahead, delta temporality) is refused with a reason and a count, and
// nothing else is stored in its place. Facts reach health before the store and without it.
//
// Names are translated as the Collector's Prometheus translator does, with unit and type suffixes. Of a
// resource only the attributes of promoted become labels: the identity of what is measured, not its
// description. An agent names itself by the resource attribute service.instance.id, equal to the agent_id of
// its heartbeats: that is how its facts find its clock.
package ingest
