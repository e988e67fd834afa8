package sys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RefuseCalls makes the kernel refuse system calls with EPERM, to every thread of the process and
// to the end of it, as a container's seccomp profile does. It is for tests, in a process of their
// own. calls are numbers such as unix.SYS_MBIND. (Kernel: seccomp with TSYNC.)
func RefuseCalls(calls ...uintptr) error {
	const (
		load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_RET
		refuse           = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	program := []unix.SockFilter{{Code: load, K: 0}} // the call's number
	for i, call := range calls {
		program = append(program, unix.SockFilter{Code: equal, K: uint32(call), Jt: uint8(len(calls) - i)})
	}
	program = append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: ret, K: refuse})
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&filter)))
	if e != 0 {
		return e
	}
	return nil
}
