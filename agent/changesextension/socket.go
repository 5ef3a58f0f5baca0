package changesextension

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// mostPath is what the name of a socket may be long on every system.
const mostPath = 100

// listenSocket opens a socket that only this user may use. One that an earlier run has left is replaced: the lock on
// the data directory says that there is no other agent.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > mostPath {
		return nil, fmt.Errorf("the path of the socket %s is longer than %d bytes: choose a shorter --data, or an address with --changes", path, mostPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
