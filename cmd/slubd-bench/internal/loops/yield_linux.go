package loops

import (
	"time"

	"golang.org/x/sys/unix"
)

// yield lets another thread have this CPU.
func yield() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// pause sleeps on the kernel's timer. Go's own ones are waited for in epoll, in
// whole milliseconds.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // a signal cuts it short, which does no harm
}
