package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports is a block of free ports below the ephemeral range, claimed against other users of this package on the
// machine until it is released.
type Ports struct {
	Base  int
	claim net.Listener
}

// size of a block: a lab uses its base port and up to 600 behind it. Blocks are aligned, so that two of them are
// either the same or apart, and the last port of a block is the claim on it.
const blockSize = 600

// ClaimPorts finds a block in which nobody listens.
func ClaimPorts() (*Ports, error) {
	const first, last = 17, 53 // blocks from 10200 to 32399
next:
	for range 200 {
		base := blockSize * (first + rand.IntN(last-first))
		claim, err := listen(base + blockSize - 1)
		if err != nil {
			continue
		}
		for offset := range blockSize - 1 {
			ln, err := listen(base + offset)
			if err != nil {
				_ = claim.Close() // somebody else is in the block
				continue next
			}
			_ = ln.Close() // it was only to see
		}
		return &Ports{Base: base, claim: claim}, nil
	}
	return nil, errors.New("no 600 free ports in a row between 10200 and 32399: end what listens there")
}

// Addr is the n-th address of the block; the lab takes the first 600 less the last ten.
func (p *Ports) Addr(n int) string { return fmt.Sprintf("127.0.0.1:%d", p.Base+n) }

// Release gives the block back.
func (p *Ports) Release() { _ = p.claim.Close() }

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
