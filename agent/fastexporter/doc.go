// Package fastexporter is the fast lane to one server: facts, in memory, newest wins.
//
// It never queues: of every series only the newest point waits, so a server that comes back hears what is
// true now and nothing else. It sends as soon as something is new, over one connection that it keeps.
package fastexporter
