//go:build !unix

package main

import "errors"

func become(program string) error {
	return errors.New("this system cannot replace a process by another: start " + program + " itself")
}
