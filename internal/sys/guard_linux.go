package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// GuardInstall makes every access to the range fault, and frees its pages. It splits no mapping.
//
// Preconditions: page-aligned range within one Reserve. Errors: EINVAL before Linux 6.13, and for
// locked memory before 6.15; ENOMEM.
func GuardInstall(addr, n uintptr) error {
	return madvise(CallGuardInstall, addr, n, unix.MADV_GUARD_INSTALL)
}

// GuardRemove undoes GuardInstall. Pages of which nothing was installed stay as they are. The
// others read zero.
//
// Preconditions and errors: as GuardInstall.
func GuardRemove(addr, n uintptr) error {
	return madvise(CallGuardRemove, addr, n, unix.MADV_GUARD_REMOVE)
}

// Monotonic reads CLOCK_MONOTONIC in nanoseconds, as C code can.
func Monotonic() int64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}
