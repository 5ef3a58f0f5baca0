// Package changesextension is the local door for change events: a deploy script or the package manager of this host says
// what is being changed, and every server hears of it.
//
// What was taken is on disk before it is answered, and is sent until each server has it, or until it is long over. The
// door is a socket in the data directory, so that who may use it is a matter of file permissions, or a loopback address.
package changesextension
