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
	r := Rseq{Offset: uintptr(area.offset), Size: uint32(area.size), Owner: OwnerLibc}
	if area.own {
		r.Owner = OwnerSlubd
	}
	return r, nil
}

// RegisterRseq registers the calling thread's own area with the kernel, until the thread exits. It
// does nothing if libc owns the area or if it is registered already. So callers need not lock the
// goroutine to its thread: they call it again until they read a cpu_id.
//
// Errors: ENOSYS from a kernel without rseq; EINVAL when another library has registered an area of
// its own in this thread; ENOMEM or EAGAIN when no function could be registered for the thread's
// exit.
func RegisterRseq() error {
	if err := CallRegisterRseq.injected(); err != nil {
		return err
	}
	return CallRegisterRseq.errno(unix.Errno(C.slubd_rseq_register()))
}
