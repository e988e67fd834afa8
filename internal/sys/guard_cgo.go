//go:build linux && cgo && (amd64 || arm64)

package sys

// #include "guard_cgo.h"
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// CanWatchGuards says whether WatchGuards works in this build.
const CanWatchGuards = true

var _ = [1]struct{}{}[unsafe.Sizeof(GuardArea{})-uintptr(C.sizeof_struct_slubd_guard_area)]

// WatchGuards has accesses to the area's guarded pages reported on standard error, by a handler for
// SIGSEGV that it installs at the first call; see guard_cgo.c. The area lies in memory of Reserve,
// and is never unmapped. Calls must not overlap.
//
// Errors: ENOSPC for more areas than the handler has room for; those of sigaction.
func WatchGuards(area *GuardArea) error {
	if err := CallWatchGuards.injected(); err != nil {
		return err
	}
	return CallWatchGuards.errno(unix.Errno(C.slubd_guard_watch((*C.struct_slubd_guard_area)(unsafe.Pointer(area)))))
}
