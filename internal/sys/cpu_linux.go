package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file are raw: they never block, and telling Go's scheduler about them could
// move the goroutine to another thread in between.

// Affinity returns the CPUs that the calling thread may run on, bit n for CPU n. If the goroutine
// is not locked to its thread, the answer may be about any thread.
func Affinity() ([]uint64, error) {
	if err := CallAffinity.injected(); err != nil {
		return nil, err
	}
	mask := make([]uint64, maxCPUs/64)
	n, _, e := unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, maxCPUs/8, uintptr(ptr(mask)))
	if e != 0 {
		return nil, CallAffinity.errno(e)
	}
	return mask[:(n+7)/8], nil
}

// SetAffinity restricts the calling thread to the CPUs of the mask. Never rely on it for safety:
// cpusets and other processes change it, and gVisor ignores it.
//
// Preconditions: the goroutine is locked to the thread. Errors: EINVAL when no CPU of the mask is
// online and allowed.
func SetAffinity(mask []uint64) error {
	if err := CallSetAffinity.injected(); err != nil {
		return err
	}
	_, _, e := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)*8), uintptr(ptr(mask)))
	return CallSetAffinity.errno(e)
}

// CPU returns where the calling thread runs. It is a hint: the thread may run elsewhere when the
// caller uses it.
func CPU() (cpu, node int, err error) {
	if err := CallCPU.injected(); err != nil {
		return 0, 0, err
	}
	var c, n uint32
	_, _, e := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&c)), uintptr(unsafe.Pointer(&n)), 0)
	return int(c), int(n), CallCPU.errno(e)
}
