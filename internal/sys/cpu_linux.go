package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file are raw: they never block, and telling the scheduler
// about them could move the goroutine to another thread in between.

// maxCPUs is the largest NR_CPUS that kernels are built with; a shorter mask
// makes sched_getaffinity fail on them.
const maxCPUs = 8192

// Affinity returns the CPUs that the calling thread may run on, bit n for CPU
// n. The caller has locked its goroutine to the thread, or the answer may be
// about any thread.
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

// SetAffinity restricts the calling thread, which the caller has locked, to
// the mask's CPUs. Never rely on it for safety: cpusets and other processes
// change it, and gVisor ignores it.
//
// Errors: EINVAL when no CPU of the mask is online and allowed.
func SetAffinity(mask []uint64) error {
	if err := CallSetAffinity.injected(); err != nil {
		return err
	}
	_, _, e := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)*8), uintptr(ptr(mask)))
	return CallSetAffinity.errno(e)
}

// CPU returns where the calling thread runs: a hint that is out of date when
// it arrives.
func CPU() (cpu, node int, err error) {
	if err := CallCPU.injected(); err != nil {
		return 0, 0, err
	}
	var c, n uint32
	_, _, e := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&c)), uintptr(unsafe.Pointer(&n)), 0)
	return int(c), int(n), CallCPU.errno(e)
}
