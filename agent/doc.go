// Evenkeel-agent is the eyes of a site: an OpenTelemetry Collector that probes, beats and ships, and decides
// nothing.
//
// Facts (probe results) go the fast way: memory only, newest wins, at once. The server stores them as well, so
// they are not sent twice. Everything else (host metrics, OTLP from applications, the agent's own figures) goes
// the bulk way: a queue on disk per server, retried for ever.
//
// An agent has a role. A host agent, the default for a fleet, ships host metrics and beats every 5 s. A site
// agent (two per site for redundancy) probes, beats every second and follows the topology; it collects host
// metrics when asked to. With a PagerDuty key it is a dead man's switch as well: it pages when no server has answered
// for a while.
package main
