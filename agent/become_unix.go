//go:build unix

package main

import (
	"os"
	"syscall"
)

// become replaces this process by another program with the same arguments; it returns only when it cannot.
func become(program string) error {
	return syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
}
