package supervise

import "syscall"

// attributes puts a child into its own process group, so that Ctrl-C reaches only the lab, and has the kernel
// kill it when the lab dies without a chance to clean up.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
