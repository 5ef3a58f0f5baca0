//go:build !unix

package store

// probeLock is not possible here: VictoriaMetrics itself says so when the directory is in use.
func probeLock(string) error { return nil }
