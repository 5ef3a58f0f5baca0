package saturation

import "syscall"

// fill is the share in use of a file system, of what users may use.
func fill(path string) (share float64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, false
	}
	used := s.Blocks - s.Bfree
	if used+s.Bavail == 0 {
		return 0, false
	}
	return float64(used) / float64(used+s.Bavail), true
}
