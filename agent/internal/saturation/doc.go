// Package saturation says how full a host is: for each resource the 95th percentile, over a minute, of the share in use,
// and the largest of them. It reads a few small files of Linux' /proc and /sys; what they do not say is absent, not zero.
package saturation
