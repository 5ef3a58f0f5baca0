// Package topology is the agent's memory of what the servers told it: which probes to make, and at which
// revision. It is kept on disk, so the agent works on the last good answer alone.
//
// Only something newer replaces it: within one cluster a lower (epoch, revision) is refused.
package topology
