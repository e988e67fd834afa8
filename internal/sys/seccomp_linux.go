package sys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Refusal is a system call that a filter refuses.
type Refusal struct {
	Call   uintptr // number, such as unix.SYS_MBIND
	Errno  unix.Errno
	Length uint32 // refuses only calls with this second argument; 0: all
}

// RefuseCalls makes the kernel refuse system calls with EPERM, to every thread of the process and
// to the end of it, as a container's seccomp profile does. It is for tests, in a process of their
// own. calls are numbers such as unix.SYS_MBIND. (Kernel: seccomp with TSYNC.)
func RefuseCalls(calls ...uintptr) error {
	var refusals []Refusal
	for _, call := range calls {
		refusals = append(refusals, Refusal{Call: call, Errno: unix.EPERM})
	}
	return filterCalls(unix.SECCOMP_FILTER_FLAG_TSYNC, refusals)
}

// RefuseThread makes the kernel refuse system calls to the calling thread, which the caller has
// locked, and to threads that it starts. It is for tests as well.
func RefuseThread(refusals ...Refusal) error { return filterCalls(0, refusals) }

// filterCalls installs a filter: for each refusal some instructions that return its errno or go on
// to the next.
func filterCalls(flags uintptr, refusals []Refusal) error {
	const (
		load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_RET

		number, second = 0, 24 // offsets in struct seccomp_data; the second is of a low half
	)
	var program []unix.SockFilter
	for _, r := range refusals {
		refuse := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(r.Errno)}
		program = append(program, unix.SockFilter{Code: load, K: number})
		if r.Length == 0 {
			program = append(program, unix.SockFilter{Code: equal, K: uint32(r.Call), Jf: 1}, refuse)
			continue
		}
		program = append(program,
			unix.SockFilter{Code: equal, K: uint32(r.Call), Jf: 3}, unix.SockFilter{Code: load, K: second},
			unix.SockFilter{Code: equal, K: r.Length, Jf: 1}, refuse)
	}
	program = append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	if e != 0 {
		return e
	}
	return nil
}
