//go:build !unix

package main

// lock does nothing where there is no flock; the queue's own file lock remains.
func lock(string) (unlock func(), err error) { return func() {}, nil }
