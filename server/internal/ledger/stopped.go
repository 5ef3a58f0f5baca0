package ledger

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// errStopped is the answer to a read that came after etcd had stopped by itself.
var errStopped = errors.New("etcd has stopped")

// stoppable makes an error of what etcd in this process panics at: reads run on the goroutine of their caller, also after
// the others have removed this member, when its database is closed already.
type stoppable struct {
	clientv3.KV
	stopping <-chan struct{} // closed before the database is
}

// Get reads, and returns errStopped where there is nothing to read from any more.
func (k stoppable) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (res *clientv3.GetResponse, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		select {
		case <-k.stopping:
			res, err = nil, errStopped
		default:
			panic(p)
		}
	}()
	return k.KV.Get(ctx, key, opts...)
}
