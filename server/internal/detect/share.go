package detect

import (
	"bytes"
	"crypto/sha256"
)

// Share is the replica that a watch falls to, by rendezvous hashing: the one with the greatest hash of the two names
// (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on Networking 6(1),
// 1998). Everybody who knows the same replicas, in any order, finds the same one. When a replica goes only its
// watches move, and when one comes watches move only to it. Without replicas it is empty.
func Share(watch string, replicas []string) string {
	var best string
	var most []byte
	for _, replica := range replicas {
		sum := sha256.Sum256([]byte(watch + "\x00" + replica))
		if most == nil || bytes.Compare(sum[:], most) > 0 {
			best, most = replica, sum[:]
		}
	}
	return best
}
