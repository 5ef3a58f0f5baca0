//go:build !linux

package saturation

func fill(string) (float64, bool) { return 0, false }
