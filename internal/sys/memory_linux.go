package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reserve maps n bytes of private, anonymous, readable and writable memory
// and returns their page-aligned address. Nothing is committed: pages appear,
// zeroed, when first touched, and count against no overcommit limit before.
//
// Preconditions: n is a positive multiple of the page size.
// Errors: ENOMEM when address space, RLIMIT_AS or vm.max_map_count runs out.
func Reserve(n uintptr) (addr uintptr, err error) {
	if err := CallReserve.injected(); err != nil {
		return 0, err
	}
	p, err := unix.MmapPtr(-1, 0, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return uintptr(p), CallReserve.wrap(err)
}

// Guard maps n bytes that fault on every access: an address of no object.
//
// Preconditions and errors: as Reserve.
func Guard(n uintptr) (addr uintptr, err error) {
	if err := CallGuard.injected(); err != nil {
		return 0, err
	}
	p, err := unix.MmapPtr(-1, 0, nil, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return uintptr(p), CallGuard.wrap(err)
}

// Unmap gives the addresses back to the kernel, which may hand them to the Go
// heap next.
//
// Preconditions: the range lies within one Reserve and never handed out an
// object, since a stale pointer would then reach into somebody else's memory;
// ranges that did are emptied with Discard and kept.
func Unmap(addr, n uintptr) error {
	if err := CallUnmap.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MUNMAP, addr, n, 0)
	return CallUnmap.errno(e)
}

// Discard frees the pages at once (MADV_DONTNEED, not MADV_FREE: RSS shows
// it); the next touch reads zero.
//
// Preconditions: page-aligned range, nobody reads or writes it meanwhile.
// Errors: EINVAL for locked pages.
func Discard(addr, n uintptr) error { return madvise(CallDiscard, addr, n, unix.MADV_DONTNEED) }

// Populate gives every page of the range memory now, so that no later touch
// faults. On failure some pages have it.
//
// Preconditions: page-aligned range.
// Errors: EINVAL before Linux 5.14, ENOMEM, EAGAIN, EHWPOISON.
func Populate(addr, n uintptr) error {
	return madvise(CallPopulate, addr, n, unix.MADV_POPULATE_WRITE)
}

// AdviseHuge asks for transparent huge pages in the range, or for none.
//
// Preconditions: page-aligned range.
// Errors: EINVAL from a kernel built without them.
func AdviseHuge(addr, n uintptr, on bool) error {
	advice := uintptr(unix.MADV_NOHUGEPAGE)
	if on {
		advice = unix.MADV_HUGEPAGE
	}
	return madvise(CallAdviseHuge, addr, n, advice)
}

func madvise(c Call, addr, n, advice uintptr) error {
	if err := c.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MADVISE, addr, n, advice)
	return c.errno(e)
}

// Lock populates the range and keeps it from being swapped out.
//
// Preconditions: page-aligned range.
// Errors: ENOMEM or EPERM above RLIMIT_MEMLOCK without CAP_IPC_LOCK.
func Lock(addr, n uintptr) error {
	if err := CallLock.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MLOCK, addr, n, 0)
	return CallLock.errno(e)
}

// Unlock undoes Lock, and what a Lock that failed halfway has left. The pages
// keep their contents; pages never locked are fine.
//
// Preconditions: page-aligned, mapped range.
// Errors: ENOMEM when it would split the mapping above vm.max_map_count.
func Unlock(addr, n uintptr) error {
	if err := CallUnlock.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MUNLOCK, addr, n, 0)
	return CallUnlock.errno(e)
}

// RAM returns the machine's memory in bytes, all of it and what is unused.
// Cgroup limits do not show here.
func RAM() (total, free uint64, err error) {
	if err := CallRAM.injected(); err != nil {
		return 0, 0, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, CallRAM.wrap(err)
	}
	unit := uint64(info.Unit)
	return uint64(info.Totalram) * unit, uint64(info.Freeram) * unit, nil
}

// ptr is the address of a slice's first element; the conversion to uintptr
// must stand in the system call's own argument list to keep it alive.
func ptr[T any](s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }
