package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// space is a network namespace that this process can work in. A socket that was opened there stays there, whoever
// uses it later.
type space struct {
	own, home *os.File // handles of the namespace and of the one we come from
}

// openSpace opens a namespace that `ip netns add` made.
func openSpace(name string) (*space, error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open our own network namespace: %w", err)
	}
	own, err := os.Open(filepath.Join(spacesDir, name))
	if err != nil {
		_ = home.Close() // only read
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return &space{own: own, home: home}, nil
}

func (s *space) close() {
	_, _ = s.own.Close(), s.home.Close() // only read
}

// enter moves the calling thread into the namespace. The caller has locked it.
func (s *space) enter() error {
	if err := unix.Setns(int(s.own.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// do runs f on a thread that is in the namespace. What f starts on other threads is not.
func (s *space) do(f func() error) error {
	done := make(chan error)
	onThread(func() {
		if err := s.enter(); err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err := f()
		if unix.Setns(int(s.home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread is good for nothing and ends with the goroutine
		}
		done <- err
	})
	return <-done
}

// onThread runs f on a goroutine that has its thread for itself, and takes it along unless f unlocks it. It is never
// the first thread: that one cannot end, and what is asked about the process is answered by it.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}

// listen opens a listener in the namespace.
func (s *space) listen(addr string) (l net.Listener, err error) {
	err = s.do(func() error {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	return l, err
}
