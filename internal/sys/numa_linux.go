package sys

import (
	"bytes"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mbind sets the memory policy of a range, for pages that are touched from now on. nodes is a bit
// mask, bit n for node n; mode and flags are MPOL_* and MPOL_MF_* of <linux/mempolicy.h>, with mode
// flags or'ed into mode.
//
// Preconditions: page-aligned, mapped range. Errors: EPERM under Docker's seccomp profile; ENOSYS
// without CONFIG_NUMA; EINVAL if no node of the mask is online, has memory and is in the cpuset;
// EFAULT for an unmapped range.
func Mbind(addr, n uintptr, mode int, nodes []uint64, flags uint) error {
	if err := CallMbind.injected(); err != nil {
		return err
	}
	_, _, e := unix.Syscall6(unix.SYS_MBIND, addr, n, uintptr(mode), uintptr(ptr(nodes)), maskBits(nodes), uintptr(flags))
	return CallMbind.errno(e)
}

// maskBits is the length of a node mask as mbind expects it: the kernel uses one bit less.
func maskBits(mask []uint64) uintptr {
	if len(mask) == 0 {
		return 0
	}
	return uintptr(len(mask)*64 + 1)
}

// maxNodes is the largest MAX_NUMNODES that kernels are built with; get_mempolicy fails on them
// with a shorter mask.
const maxNodes = 1024

// Mempolicy returns the policy (MPOL_*, with its mode flags) and the node mask of the page at addr.
func Mempolicy(addr uintptr) (mode int, nodes []uint64, err error) {
	if err := CallMempolicy.injected(); err != nil {
		return 0, nil, err
	}
	var m int32
	nodes = make([]uint64, maxNodes/64)
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&m)), uintptr(ptr(nodes)), maskBits(nodes),
		addr, unix.MPOL_F_ADDR, 0)
	return int(m), nodes, CallMempolicy.errno(e)
}

// ThreadPolicy returns the policy (MPOL_*, with its mode flags) that holds for what the calling
// thread touches, where a range has none, and the node mask. Threads that Go starts inherit it.
func ThreadPolicy() (mode int, nodes []uint64, err error) {
	if err := CallMempolicy.injected(); err != nil {
		return 0, nil, err
	}
	var m int32
	nodes = make([]uint64, maxNodes/64)
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&m)), uintptr(ptr(nodes)), maskBits(nodes), 0, 0, 0)
	return int(m), nodes, CallMempolicy.errno(e)
}

// SetThreadPolicy sets what ThreadPolicy returns, for tests.
func SetThreadPolicy(mode int, nodes []uint64) error {
	_, _, e := unix.Syscall(unix.SYS_SET_MEMPOLICY, uintptr(mode), uintptr(ptr(nodes)), maskBits(nodes))
	return CallMempolicy.errno(e)
}

// NodesOf asks on which node the page of each address is. status[i] becomes the node of addrs[i] or
// a negative errno: -ENOENT for a page that was never touched, -EFAULT for one that is not mapped
// or is only the shared zero page.
//
// Preconditions: len(status) >= len(addrs). Errors: EINVAL for a short status, EPERM or ENOSYS as
// for Mbind.
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

// MovePages moves the pages of the process' own to a node, those that no other process maps. Their
// contents stay, and a thread that touches one meanwhile waits. status[i] becomes the node on which
// the page of addrs[i] then is, or a negative errno: as of NodesOf, -ENOMEM where the node is full,
// and -EBUSY for a page that the kernel could not move just now.
//
// Preconditions: len(status) >= len(addrs). Errors: EINVAL for a short status, EPERM or ENOSYS as
// for Mbind, EACCES for a node that the cpuset excludes, ENODEV for one without memory.
func MovePages(addrs []uintptr, node int, status []int32) error {
	if err := CallMovePages.injected(); err != nil {
		return err
	}
	if len(status) < len(addrs) {
		return CallMovePages.errno(unix.EINVAL)
	}
	nodes := make([]int32, len(addrs))
	for i := range nodes {
		nodes[i] = int32(node)
		status[i] = -int32(unix.EBUSY) // where the kernel gives up it writes none
	}
	_, _, e := unix.Syscall6(unix.SYS_MOVE_PAGES, 0, uintptr(len(addrs)), uintptr(ptr(addrs)), uintptr(ptr(nodes)),
		uintptr(ptr(status)), unix.MPOL_MF_MOVE)
	return CallMovePages.errno(e)
}

// ReadNumaMaps returns the text of /proc/self/numa_maps: a line for each mapping, with its start
// and the number of its pages on each node. The kernel walks the page tables, which takes
// milliseconds per GiB.
func ReadNumaMaps() ([]byte, error) {
	if err := CallReadNumaMaps.injected(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/proc/self/numa_maps")
	return text, CallReadNumaMaps.wrap(err)
}

// MemsAllowed returns the nodes that the process' cpuset allows, as a list such as 0-1,3.
func MemsAllowed() (list string, err error) {
	if err := CallMemsAllowed.injected(); err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/status")
	for line := range bytes.Lines(text) {
		if list, ok := bytes.CutPrefix(line, []byte("Mems_allowed_list:")); ok {
			return string(bytes.TrimSpace(list)), nil
		}
	}
	if err == nil {
		err = ErrUnsupported
	}
	return "", CallMemsAllowed.wrap(err)
}
