// Package lab is three real sites on one machine: it starts their processes, lays the cables between them, sends
// them users, breaks them when asked, and tells what happens.
package lab
