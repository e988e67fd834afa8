package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mbind sets the memory policy of a range, for pages touched from now on.
// nodes is a bit mask, bit n for node n; mode and flags are MPOL_* and
// MPOL_MF_* of <linux/mempolicy.h>, mode flags or'ed into mode.
//
// Preconditions: page-aligned, mapped range.
// Errors: EPERM under Docker's seccomp profile, ENOSYS without CONFIG_NUMA,
// EINVAL for no node that is online, has memory and is in the cpuset, EFAULT
// for an unmapped range.
func Mbind(addr, n uintptr, mode int, nodes []uint64, flags uint) error {
	if err := CallMbind.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall6(unix.SYS_MBIND, addr, n, uintptr(mode), uintptr(ptr(nodes)), maskBits(nodes), uintptr(flags))
	return CallMbind.errno(e)
}

// maskBits is what the kernel wants to hear about a node mask's length: it
// takes one bit less than it is told.
func maskBits(mask []uint64) uintptr {
	if len(mask) == 0 {
		return 0
	}
	return uintptr(len(mask)*64 + 1)
}

// maxNodes is the largest MAX_NUMNODES that kernels are built with; a shorter
// mask makes get_mempolicy fail on them.
const maxNodes = 1024

// Mempolicy returns the policy (MPOL_*, with its mode flags) and the node mask
// that hold for the page at addr.
func Mempolicy(addr uintptr) (mode int, nodes []uint64, err error) {
	if err := CallMempolicy.injected(); err != nil {
		return 0, nil, err
	}
	var m int32
	nodes = make([]uint64, maxNodes/64)
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&m)), uintptr(ptr(nodes)), maskBits(nodes), addr, unix.MPOL_F_ADDR, 0)
	return int(m), nodes, CallMempolicy.errno(e)
}

// NodesOf asks on which node the page of each address is: status[i] becomes
// the node of addrs[i] or a negative errno, -ENOENT for a page never touched
// and -EFAULT for one that is not mapped or only the shared zero page.
//
// Preconditions: len(status) >= len(addrs).
// Errors: EINVAL for a short status, EPERM or ENOSYS as for Mbind.
func NodesOf(addrs []uintptr, status []int32) error {
	if err := CallNodesOf.injected(); err != nil {
		return err
	}
	if len(status) < len(addrs) {
		return CallNodesOf.errno(unix.EINVAL)
	}
	_, _, e := unix.Syscall6(unix.SYS_MOVE_PAGES, 0, uintptr(len(addrs)), uintptr(ptr(addrs)), 0, uintptr(ptr(status)), 0)
	return CallNodesOf.errno(e)
}
