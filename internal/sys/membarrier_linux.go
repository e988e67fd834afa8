package sys

import "golang.org/x/sys/unix"

// Commands and flag of <linux/membarrier.h>, which x/sys does not name.
const (
	membarrierQuery               = 0
	membarrierPrivate             = 1 << 3
	membarrierRegisterPrivate     = 1 << 4
	membarrierPrivateRseq         = 1 << 7
	membarrierRegisterPrivateRseq = 1 << 8
	membarrierFlagCPU             = 1
)

// MembarrierQuery returns the set of commands that the kernel has, or'ed.
func MembarrierQuery() (cmds int, err error) {
	if err := CallMembarrierQuery.injected(); err != nil {
		return 0, err
	}
	n, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierQuery, 0, 0)
	return int(n), CallMembarrierQuery.errno(e)
}

// MembarrierRegister announces Membarrier for this process. Once is enough; again
// does no harm.
//
// Errors: EINVAL before Linux 4.14, ENOSYS before 4.3 or without CONFIG_MEMBARRIER.
func MembarrierRegister() error {
	if err := CallMembarrierRegister.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterPrivate, 0, 0)
	return CallMembarrierRegister.errno(e)
}

// Membarrier returns once every thread of this process that runs has executed a full
// memory barrier; the others do when they are put on a CPU. The calling thread executes
// one at the beginning and one at the end.
//
// Preconditions: MembarrierRegister succeeded.
// Errors: EPERM when it did not, ENOMEM.
func Membarrier() error {
	if err := CallMembarrier.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierPrivate, 0, 0)
	return CallMembarrier.errno(e)
}

// MembarrierRegisterRseq announces MembarrierRseq for this process. Once is
// enough; again does no harm.
//
// Errors: EINVAL before Linux 5.10, ENOSYS without CONFIG_RSEQ.
func MembarrierRegisterRseq() error {
	if err := CallMembarrierRegisterRseq.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterPrivateRseq, 0, 0)
	return CallMembarrierRegisterRseq.errno(e)
}

// MembarrierRseq returns once every restartable sequence of this process that
// was under way on cpu has either committed or will abort, and with it a full
// memory barrier there. A negative cpu means all of them.
//
// Preconditions: MembarrierRegisterRseq succeeded.
// Errors: EPERM when it did not, ENOMEM.
func MembarrierRseq(cpu int) error {
	if err := CallMembarrierRseq.injected(); err != nil {
		return err
	}
	flags := uintptr(membarrierFlagCPU)
	if cpu < 0 {
		flags, cpu = 0, 0
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierPrivateRseq, flags, uintptr(cpu))
	return CallMembarrierRseq.errno(e)
}
