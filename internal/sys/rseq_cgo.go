//go:build linux && cgo && (amd64 || arm64)

package sys

// #include "rseq_cgo.h"
import "C"

import "golang.org/x/sys/unix"

// RseqArea locates the calling process' rseq areas. It calls C: ask once.
// That an area exists does not mean that the kernel keeps it: an owner of
// "slubd" on a kernel without rseq shows when RegisterRseq fails.
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

// RegisterRseq registers the calling thread's own area with the kernel and
// arranges that it is withdrawn when the thread exits. It does nothing for an
// area that libc owns or that is registered already, so callers need not lock
// the goroutine to its thread: they loop until they read a cpu_id.
//
// Errors: ENOSYS from a kernel without rseq, EINVAL when another library has
// registered an area of its own in this thread, ENOMEM or EAGAIN when the
// thread's exit could not be watched.
func RegisterRseq() error {
	if err := CallRegisterRseq.injected(); err != nil {
		return err
	}
	return CallRegisterRseq.errno(unix.Errno(C.slubd_rseq_register()))
}
