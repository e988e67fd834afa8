package sys

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// refused skips the test where seccomp or the kernel's configuration forbids the NUMA calls.
func refused(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMbindIsSeenByMempolicy(t *testing.T) {
	addr := reserve(t, mib)
	// The node that the thread runs on has memory, except on a very odd machine.
	_, node, err := CPU()
	refused(t, err)
	mask := make([]uint64, node/64+1)
	mask[node/64] = 1 << (node % 64)
	refused(t, Mbind(addr, mib/2, unix.MPOL_BIND, mask, 0))
	mode, nodes, err := Mempolicy(addr)
	refused(t, err)
	if mode != unix.MPOL_BIND || nodes[node/64] != mask[node/64] {
		t.Errorf("bound to node %d, the kernel says mode %d, nodes %x", node, mode, nodes)
	}
	if mode, _, err := Mempolicy(addr + mib/2); err != nil || mode != unix.MPOL_DEFAULT {
		t.Errorf("the second half has mode %d, %v", mode, err)
	}
	refused(t, Mbind(addr, mib, unix.MPOL_DEFAULT, nil, 0))
	if err := Mbind(addr, mib, unix.MPOL_BIND, nil, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("binding to no node gives %v, want EINVAL", err)
	}
}

func TestMaskBitsCoverTheHighestBit(t *testing.T) {
	if maskBits(nil) != 0 || maskBits(make([]uint64, 2)) != 129 {
		t.Error("the kernel would drop node 127 or read a nil mask")
	}
}

func TestNodesOf(t *testing.T) {
	addr := reserve(t, 4*mib)
	refused(t, ignore(AdviseHuge(addr, 4*mib, false), unix.EINVAL))
	view(addr, mib)[0] = 1
	unmapped, err := Reserve(mib)
	refused(t, err)
	refused(t, Unmap(unmapped, mib))

	status := make([]int32, 3)
	refused(t, NodesOf([]uintptr{addr, addr + mib, unmapped}, status))
	if status[0] < 0 || status[1] != -int32(unix.ENOENT) || status[2] >= 0 {
		t.Errorf("touched, untouched, unmapped page: %v", status)
	}
	if err := NodesOf([]uintptr{addr, addr}, status[:1]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a short status gives %v, want EINVAL", err)
	}
	if err := NodesOf(nil, nil); err != nil {
		t.Errorf("no address: %v", err)
	}
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
