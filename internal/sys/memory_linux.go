package sys

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/mem"
)

// Reserve maps n bytes of private, anonymous, readable and writable memory and returns their
// page-aligned address. It commits nothing: pages appear, zeroed, when they are first touched, and
// count against no overcommit limit before.
//
// Preconditions: n is a positive multiple of the page size. Errors: ENOMEM when address space,
// RLIMIT_AS or vm.max_map_count runs out.
func Reserve(n uintptr) (addr uintptr, err error) {
	if err := CallReserve.injected(); err != nil {
		return 0, err
	}
	return CallReserve.mapAnon(0, n, ReadWrite, 0)
}

// ReserveAs is Reserve for memory with that access. Memory that is not writable counts against no
// overcommit limit, nor against RLIMIT_DATA. After mlockall(MCL_FUTURE) all of it becomes resident,
// unless it has no access; Protect to ReadOnly leaves it so.
func ReserveAs(n uintptr, access Access) (addr uintptr, err error) {
	if err := CallReserve.injected(); err != nil {
		return 0, err
	}
	return CallReserve.mapAnon(0, n, access, 0)
}

// Replace puts new memory with that access, all zeroes, in the place of what is mapped. The old
// pages go back to the kernel, locked or not, and their policy, name and advice are gone. No other
// mapping can come between: a thread that touches the range meanwhile waits in its page fault.
// After mlockall(MCL_FUTURE) the new memory becomes resident as by ReserveAs.
//
// Preconditions: page-aligned range within one Reserve.
// Errors: ENOMEM above vm.max_map_count; the range is then as it was, or no longer mapped.
func Replace(addr, n uintptr, access Access) error {
	if err := CallReplace.injected(); err != nil {
		return err
	}
	_, err := CallReplace.mapAnon(addr, n, access, unix.MAP_FIXED)
	return err
}

// mapAnon maps private anonymous memory. It leaves the call to x/sys: on s390x mmap(2) takes the
// address of a block with its arguments.
func (c Call) mapAnon(at, n uintptr, access Access, flags int) (addr uintptr, err error) {
	flags |= unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	p, err := unix.MmapPtr(-1, 0, mem.Ptr(at), n, access.prot(), flags)
	if err != nil {
		return 0, c.wrap(err)
	}
	return uintptr(p), nil
}

// Protect changes the access of a range. Its pages keep their contents. Pages that become writable
// for the first time count against overcommit limits and RLIMIT_DATA from then on. If the memory is
// locked, as after mlockall, they become resident as well.
//
// Preconditions: page-aligned range within one Reserve.
// Errors: ENOMEM above one of those limits or vm.max_map_count; nothing has changed then, unless
// the range consists of several mappings.
func Protect(addr, n uintptr, access Access) error {
	if err := CallProtect.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MPROTECT, addr, n, uintptr(access.prot()))
	return CallProtect.errno(e)
}

func (a Access) prot() int {
	return [...]int{NoAccess: unix.PROT_NONE, ReadOnly: unix.PROT_READ, ReadWrite: unix.PROT_READ | unix.PROT_WRITE}[a]
}

// DumpCore says whether the range is part of core dumps, which it is if nothing was said.
//
// Preconditions: page-aligned range.
// Errors: ENOMEM above vm.max_map_count.
func DumpCore(addr, n uintptr, on bool) error {
	advice := uintptr(unix.MADV_DONTDUMP)
	if on {
		advice = unix.MADV_DODUMP
	}
	return madvise(CallDumpCore, addr, n, advice)
}

// SetName gives the range a name, which /proc/PID/maps shows as [anon:name].
//
// Preconditions: page-aligned range; name comes from Name.
// Errors: EINVAL from a kernel before 5.17 or without CONFIG_ANON_VMA_NAME; ENOMEM.
func SetName(addr, n uintptr, name string) error {
	if err := CallSetName.injected(); err != nil {
		return err
	}
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return CallSetName.wrap(err)
	}
	_, _, e := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, addr, n, uintptr(unsafe.Pointer(text)), 0)
	return CallSetName.errno(e)
}

// Guard maps n bytes that fault on every access, so that their addresses belong to no object.
//
// Preconditions and errors: as Reserve.
func Guard(n uintptr) (addr uintptr, err error) {
	if err := CallGuard.injected(); err != nil {
		return 0, err
	}
	return CallGuard.mapAnon(0, n, NoAccess, 0)
}

// Unmap gives the addresses back to the kernel, which may hand them to the Go heap next.
//
// Preconditions: the range lies within one Reserve, and no object of it was ever handed out, since
// a stale pointer would then reach into other memory. Ranges of which objects were handed out are
// discarded and kept.
func Unmap(addr, n uintptr) error {
	if err := CallUnmap.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MUNMAP, addr, n, 0)
	return CallUnmap.errno(e)
}

// Discard frees the pages at once (MADV_DONTNEED, not MADV_FREE, so that RSS shows it). They read
// zero when they are touched next. It frees locked pages as well, as there are after mlockall, with
// MADV_DONTNEED_LOCKED; what is touched next is then locked again.
//
// Preconditions: page-aligned range, which no thread reads or writes meanwhile. Errors: EINVAL for
// locked pages before Linux 5.18. After an error some pages may be freed.
func Discard(addr, n uintptr) error {
	err := madvise(CallDiscard, addr, n, unix.MADV_DONTNEED)
	if errors.Is(err, unix.EINVAL) {
		return madvise(CallDiscard, addr, n, unix.MADV_DONTNEED_LOCKED)
	}
	return err
}

// Populate gives memory to every page of the range, so that no later touch faults. On failure some
// pages have got it.
//
// Preconditions: page-aligned range. Errors: EINVAL before Linux 5.14, ENOMEM, EAGAIN, EHWPOISON.
func Populate(addr, n uintptr) error {
	return madvise(CallPopulate, addr, n, unix.MADV_POPULATE_WRITE)
}

// AdviseHuge asks for transparent huge pages in the range, or for none.
//
// Preconditions: page-aligned range. Errors: EINVAL from a kernel built without them.
func AdviseHuge(addr, n uintptr, on bool) error {
	advice := uintptr(unix.MADV_NOHUGEPAGE)
	if on {
		advice = unix.MADV_HUGEPAGE
	}
	return madvise(CallAdviseHuge, addr, n, advice)
}

// madviseTries bounds how often madvise asks the kernel.
const madviseTries = 4

// madvise asks again after EINTR and EAGAIN, which say nothing about the range.
func madvise(c Call, addr, n, advice uintptr) (err error) {
	for range madviseTries {
		if err = c.injected(); err == nil {
			_, _, e := unix.Syscall(unix.SYS_MADVISE, addr, n, advice)
			err = c.errno(e)
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return err
}

// Lock populates the range and keeps it from being swapped out (mlock).
//
// Preconditions: page-aligned range. Errors: ENOMEM or EPERM above RLIMIT_MEMLOCK without
// CAP_IPC_LOCK.
func Lock(addr, n uintptr) error {
	if err := CallLock.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MLOCK, addr, n, 0)
	return CallLock.errno(e)
}

// Unlock undoes Lock, also a Lock that failed halfway. The pages keep their contents. Pages that
// were never locked may be in the range.
//
// Preconditions: page-aligned, mapped range. Errors: ENOMEM when it would split the mapping above
// vm.max_map_count.
func Unlock(addr, n uintptr) error {
	if err := CallUnlock.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_MUNLOCK, addr, n, 0)
	return CallUnlock.errno(e)
}

// RAM returns the bytes of the machine's memory, all of it and what is unused. Cgroup limits don't
// count.
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

// ptr is the address of a slice's first element. Its conversion to uintptr must stand in the
// argument list of the system call itself, which keeps the slice alive.
func ptr[T any](s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }

// AddressesLimited reports whether the process may not use all addresses (RLIMIT_AS).
func AddressesLimited() bool {
	var limit unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil && limit.Cur != unix.RLIM_INFINITY
}
