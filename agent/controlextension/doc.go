// Package controlextension is the agent's own line to each server: it says "I am here", compares clocks, and
// listens for what to do.
//
// The heartbeat and the long-poll each have a connection of their own, so that a full pipeline never looks
// like a dead agent. What a server says is on disk before it is acted upon; with no server the last good
// answer stands, and when no server has answered for too long a site agent pages by itself (package deadman).
package controlextension
