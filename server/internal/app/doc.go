// Package app wires the rooms together: it starts them, carries data between them, and stops them in reverse.
//
// loop.go is the only place where deciding, recording and acting meet.
package app
