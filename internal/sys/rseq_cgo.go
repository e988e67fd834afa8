//go:build linux && cgo && (amd64 || arm64)

package sys

// #include "rseq_cgo.h"
import "C"

import "golang.org/x/sys/unix"

// RseqArea locates the calling process' rseq areas. It calls C, so call it once. An area may exist
// though the kernel has no rseq: with the owner "slubd", RegisterRseq then fails.
func RseqArea() (Rseq, error) {
	if err := CallRseqArea.injected(); err != nil {
		return Rseq{}, err
	}
	area := C.slubd_rseq_area()
	r := Rseq{Offset: uintptr(area.offset), Owner: OwnerLibc}
	if area.own {
		r.Owner = OwnerSlubd
	}
	return r, nil
}

// RseqSize returns how many bytes of an area the kernel keeps up to date, at least 20: what libc
// says, or the length with which RegisterRseq has registered a thread, 0 before the first. It calls
// C.
func RseqSize() uint32 { return uint32(C.slubd_rseq_size()) }

// RegisterRseq registers the calling thread's own area with the kernel, until the thread exits. It
// does nothing if libc owns the area or if it is registered already. So callers need not lock the
// goroutine to its thread: they call it again until they read a cpu_id, or RseqRefused.
//
// The length is AT_RSEQ_FEATURE_SIZE of the auxiliary vector if that is more than RseqOriginalSize,
// and RseqOriginalSize where the kernel refuses that, or asks for more than an area has: 64 bytes,
// aligned to 64.
//
// Errors of the kernel, behind which cpu_id is RseqRefused in this thread: ENOSYS from a kernel
// without rseq; EINVAL when another library, or another copy of this module, has registered an area
// of its own in this thread; EPERM and others from a sandbox. ENOMEM or EAGAIN when no function
// could be registered for the thread's exit; the thread may try again.
func RegisterRseq() error {
	if err := CallRegisterRseq.injected(); err != nil {
		return err
	}
	return CallRegisterRseq.errno(unix.Errno(C.slubd_rseq_register()))
}
