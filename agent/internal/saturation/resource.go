package saturation

// Resource is something of which a host can run out.
type Resource uint8

// Resources.
const (
	Unknown        Resource = iota
	CPU                     // share of time that is not idle; what a hypervisor took counts as used
	Memory                  // share that is not available
	Disk                    // share of time in which the busiest disk had something to do
	Filesystem              // share in use of the fullest file system on a disk
	Network                 // share of its speed that the busiest link carries in one direction, where the speed is known
	CPUPressure             // share of time in which some task waited for a CPU (PSI some, avg10)
	MemoryPressure          // share of time in which all tasks waited for memory (PSI full, avg10)
	IOPressure              // share of time in which all tasks waited for a disk (PSI full, avg10)
	resources               // how many there are
)

// All are the resources in their order.
func All() []Resource {
	return []Resource{CPU, Memory, Disk, Filesystem, Network, CPUPressure, MemoryPressure, IOPressure}
}

// String is the value of the label.
func (r Resource) String() string {
	switch r {
	case CPU:
		return "cpu"
	case Memory:
		return "memory"
	case Disk:
		return "disk"
	case Filesystem:
		return "filesystem"
	case Network:
		return "network"
	case CPUPressure:
		return "cpu_pressure"
	case MemoryPressure:
		return "memory_pressure"
	case IOPressure:
		return "io_pressure"
	case Unknown, resources:
	}
	return "unknown"
}
