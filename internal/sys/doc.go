// Package sys has all of the module's calls of the kernel and of C: one thin function per call,
// with its preconditions in the comment and its errno in the error.
//
// It is at the bottom of the import graph, uses no type of other packages of the module, takes no
// lock and retries nothing except madvise, a few times after EINTR and EAGAIN; policy belongs to
// numa, arena and percpu. Errors are *os.SyscallError, so that errors.Is finds the errno. Outside
// Linux every function returns ErrUnsupported. [FailNth] makes any of them fail in tests.
//
// # Who owns struct rseq
//
// The kernel keeps one struct rseq per thread up to date with the CPU that the
// thread runs on. A thread can register only one, so its owner must be agreed
// on:
//
//   - glibc 2.35 and newer registers an area in every thread it starts. Go's
//     threads are made by it when cgo is on. [RseqArea] then says Owner "libc".
//   - Otherwise (older glibc, musl, GLIBC_TUNABLES=glibc.pthread.rseq=0) the
//     area is a thread-local of this package, Owner "slubd". Every thread has
//     one, but nobody registers it for threads that the Go runtime starts: its
//     cpu_id reads -1 (uninitialized) until that thread calls [RegisterRseq].
//     That is no error. Whoever reads -1 registers the thread and tries again.
//     It reads -2 in a thread that the kernel has refused to register, for
//     example because another copy of this module, or another library, has
//     registered an area of its own there.
//   - Without cgo there is no thread-local storage that a kernel could write
//     to, and without either no area: an error that says so, and wraps
//     errors.ErrUnsupported.
//
// Whoever owns it, the area is at the same distance from the thread pointer in
// every thread, and its first fields never move: cpu_id_start at +0, cpu_id at
// +4, rseq_cs at +8. Of these rseq_cs alone may be written to in an area that is
// registered.
//
// Since Linux 7.1 the kernel treats an area by the length of its registration
// (Documentation/userspace-api/rseq.rst). One of 32 bytes is in legacy mode: the
// kernel writes all fields whenever it has taken the CPU from the thread.
// In a longer one it writes a field when its value changes, looks at rseq_cs
// when it has interrupted user space, and kills a process that has written to
// one of the other fields. The sequences of package percpu work in both. glibc
// chooses for its areas; ours have the length that the kernel asks for.
// Before Linux 7.1 there is no difference.
//
// # Not allowed
//
// Only start-up, RegisterRseq and WatchGuards may call C. No function of this package may be called
// from within a restartable sequence: a system call inside one kills the process on kernels that
// check.
package sys

import (
	"errors"
	"fmt"
)

// ErrUnsupported says that this platform or build does not have the call at all. It wraps
// errors.ErrUnsupported, which the ENOSYS of an old kernel matches as well.
var ErrUnsupported = fmt.Errorf("slubd: no such system call on this platform or in this build: %w",
	errors.ErrUnsupported)
