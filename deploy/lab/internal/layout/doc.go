// Package layout is the map of the lab: its sites, ports and cables, what each fault does to them, and the
// server's configuration. It is pure: names and numbers in, names and numbers out.
package layout
