package loops

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// yield lets another thread have this CPU.
func yield() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// pause sleeps on the kernel's timer. Go's own ones are waited for in epoll, in whole milliseconds.
//
// The Go runtime is not told of the system call. It would give the sleeping thread's P to another
// thread, and wake that for nothing, after each of the readers' sleeps: up to a fifth of the time
// that rcu's threads have. The readers have raised GOMAXPROCS by their number.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	// A signal cuts it short, which does no harm.
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
