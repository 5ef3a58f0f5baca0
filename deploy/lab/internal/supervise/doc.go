// Package supervise keeps the lab's processes alive, each a real one with its own pid and log file: started
// again with a growing pause when they die, frozen and killed when a fault asks for it, and gone when the lab
// is gone, whatever way it ends.
package supervise
