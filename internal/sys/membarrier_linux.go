package sys

import "golang.org/x/sys/unix"

// Commands and a flag of <linux/membarrier.h>, which x/sys does not name.
const (
	membarrierPrivate             = 1 << 3
	membarrierRegisterPrivate     = 1 << 4
	membarrierPrivateRseq         = 1 << 7
	membarrierRegisterPrivateRseq = 1 << 8
	membarrierFlagCPU             = 1
)

// MembarrierRegister prepares Membarrier for this process. It must be called once; further calls do
// nothing.
//
// Errors: EINVAL before Linux 4.14, ENOSYS before 4.3 or without CONFIG_MEMBARRIER.
func MembarrierRegister() error {
	if err := CallMembarrierRegister.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterPrivate, 0, 0)
	return CallMembarrierRegister.errno(e)
}

// Membarrier returns when every running thread of this process has executed a full memory barrier;
// the others do when they are put on a CPU. The calling thread executes one at the beginning and
// one at the end.
//
// Preconditions: MembarrierRegister succeeded. Errors: EPERM when it did not, ENOMEM.
func Membarrier() error {
	if err := CallMembarrier.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierPrivate, 0, 0)
	return CallMembarrier.errno(e)
}

// MembarrierRegisterRseq prepares MembarrierRseq for this process. It must be called once; further
// calls do nothing.
//
// Errors: EINVAL before Linux 5.10, ENOSYS without CONFIG_RSEQ.
func MembarrierRegisterRseq() error {
	if err := CallMembarrierRegisterRseq.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterPrivateRseq, 0, 0)
	return CallMembarrierRegisterRseq.errno(e)
}

// MembarrierRseq returns when every restartable sequence of this process that was under way on cpu
// has either committed or will abort, and when that CPU has executed a full memory barrier. A
// negative cpu means all CPUs.
//
// Preconditions: MembarrierRegisterRseq succeeded. Errors: EPERM when it did not, ENOMEM.
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
