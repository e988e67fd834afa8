package slub_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// onlyFrom fails unless all memory comes from one node, whatever CPU asks for it, and AllocNode and
// MallocNode of other nodes fail.
func onlyFrom(t *testing.T, a *arena.Arena, node numa.Node) {
	t.Helper()
	c := open(t, a, slub.Config{Size: 192})
	b := openBuckets(t, a, slub.BucketsConfig{})
	for _, from := range a.Topology().Nodes() {
		for _, cpu := range a.Topology().CPUs(from) {
			pinned(t, cpu, func() {
				objs := take(t, c, numaObjects)
				p, err := c.AllocNode(node)
				same(t, "AllocNode", err, nil)
				for _, n := range kinds {
					p := malloc(t, b, n)
					defer b.Free(p)
					*(*byte)(p) = 1
					liesOn(t, node, p)
				}
				for _, p := range append(objs, p) {
					*(*byte)(p) = 1
				}
				liesOn(t, node, append(objs, p)...)
				c.FreeBulk(append(objs, p))
			})
		}
		if from == node {
			continue
		}
		_, err := c.AllocNode(from)
		same(t, "AllocNode of another node", err, slub.ErrNoMemory)
		for _, n := range kinds {
			_, err := b.MallocNode(n, from)
			same(t, "MallocNode of another node", err, slub.ErrNoMemory)
		}
	}
}

// liesOn fails unless the kernel has each object's first page on the node.
func liesOn(t *testing.T, node numa.Node, objs ...unsafe.Pointer) {
	t.Helper()
	addrs := make([]uintptr, len(objs))
	for i, p := range objs {
		addrs[i] = uintptr(p)
	}
	for i, n := range nodesOf(t, addrs) {
		if n != node {
			t.Fatalf("object %#x lies on node %d, want %d", addrs[i], n, node)
		}
	}
}

// TestNUMAStrictInCpuset runs in a cpuset of one node, where a Strict arena opens and has that
// node's memory.
func TestNUMAStrictInCpuset(t *testing.T) {
	if _, memory := machine(t); len(memory) < 2 || !testutil.Child(t) {
		return
	}
	_, memory := machine(t)
	node := memory[len(memory)-1]
	enterCpuset(t, node)
	onlyFrom(t, newArena(t, arena.Config{Topology: numa.System(), Span: 64 * mib, Strictness: numa.Strict}), node)
}

// enterCpuset moves the process to a new cgroup which allows it memory of one node.
func enterCpuset(t *testing.T, node numa.Node) {
	t.Helper()
	root := t.TempDir()
	err := syscall.Mount("none", root, "cgroup2", 0, "")
	testutil.NeedHost(t, "a cgroup file system", "cgroup-tools", err)
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	group := filepath.Join(root, "slubd-test-"+strconv.Itoa(os.Getpid()))
	err = os.Mkdir(group, 0o755)
	testutil.NeedHost(t, "a new cgroup", "cgroup-tools", err)
	for _, f := range []struct{ path, text string }{
		{filepath.Join(root, "cgroup.subtree_control"), "+cpuset"},
		{filepath.Join(group, "cpuset.mems"), strconv.Itoa(int(node))},
		{filepath.Join(group, "cgroup.procs"), strconv.Itoa(os.Getpid())},
	} {
		err := os.WriteFile(f.path, []byte(f.text), 0o644)
		testutil.NeedHost(t, "a cpuset", "cgroup-tools", err)
	}
}

// TestNUMAMembind binds its thread to one node, as numactl --membind does all threads, and makes
// arenas: they take memory from there only.
func TestNUMAMembind(t *testing.T) {
	const mpolDefault, mpolBind = 0, 2
	_, memory := machine(t)
	node := memory[len(memory)-1]
	for _, strictness := range []numa.Strictness{numa.Advisory, numa.Strict} {
		runtime.LockOSThread()
		mask := make([]uint64, node/64+1)
		mask[node/64] = 1 << (node % 64)
		err := sys.SetThreadPolicy(mpolBind, mask)
		testutil.NeedHost(t, "set_mempolicy", "numactl", err)
		a := newArena(t, arena.Config{Topology: numa.System(), Span: 64 * mib, Strictness: strictness})
		same(t, "restoring the policy", sys.SetThreadPolicy(mpolDefault, nil), nil)
		runtime.UnlockOSThread()
		onlyFrom(t, a, node)
	}
}
