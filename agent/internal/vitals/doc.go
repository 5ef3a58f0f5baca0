// Package vitals is what the agent knows of itself: what was skipped and dropped, when a server last took
// something, how much buffer is left.
//
// Components write into it and the self receiver and the heartbeat read from it; it is handed to their
// factories, so it outlives a reload and needs no package-level state.
package vitals
