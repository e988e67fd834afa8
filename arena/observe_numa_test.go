//go:build linux && !race

package arena

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// These tests ask the kernel of a machine with several nodes; .ci/numa boots some. With one node
// there is nothing to see. They fill nodes and take memory offline, so that they leave machines
// alone that have more memory than such a guest.
const guestNode = 2 << 30

// smallestNode returns the node with the least memory free, and false if the machine has one only,
// or is no guest.
func smallestNode(t *testing.T) (smallest numa.Node, ok bool) {
	t.Helper()
	topo := numa.System()
	t.Logf("nodes %v, with memory %v", topo.Nodes(), topo.Fallback(numa.NoNode))
	least := int64(Unlimited)
	for _, n := range topo.Fallback(numa.NoNode) {
		if _, free := topo.Memory(n); free < least {
			smallest, least = n, free
		}
	}
	return smallest, len(topo.Fallback(numa.NoNode)) > 1 && least < guestNode
}

// fill takes a node's memory, as another process could, until the kernel gives pages of another.
func fill(t *testing.T, node numa.Node) (free func()) {
	t.Helper()
	total, _ := numa.System().Memory(node)
	size := uintptr(total)
	addr, err := sys.Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	_ = sys.AdviseHuge(addr, size, false) // a kernel without huge pages refuses
	_, err = numa.Policy{Mode: numa.Preferred, Nodes: []numa.Node{node}}.Apply(addr, size)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := 0
	for at := addr; at < addr+size && elsewhere < 256; at += mib {
		var pages []uintptr
		for p := at; p < at+mib; p += mem.PageSize {
			*mem.At[byte](p) = 1
			pages = append(pages, p)
		}
		elsewhere += 256 - len(pages) + away(t, pages, node)
	}
	if elsewhere == 0 {
		t.Fatalf("node %d holds more than its %d bytes", node, total)
	}
	return func() { _ = sys.Unmap(addr, size) }
}

// away returns how many of the pages lie on other nodes than this one.
func away(t *testing.T, pages []uintptr, node numa.Node) (n int) {
	t.Helper()
	where, err := numa.Where(pages)
	testutil.NeedHost(t, "move_pages", "linux-image-amd64", err)
	for _, w := range where {
		if w != node && w != numa.NoNode {
			n++
		}
	}
	return n
}

// touched allocates runs of 16 pages on a node and touches them.
func touched(t *testing.T, a *Arena, node numa.Node, n int) (runs []Run, pages []uintptr) {
	t.Helper()
	for range n {
		run := alloc(t, a, 4, node)
		runs = append(runs, run)
		for page := range run.Pages {
			pages = append(pages, a.Addr(run.Page+page))
			*mem.At[byte](a.Addr(run.Page + page)) = byte(run.Page)
		}
	}
	return runs, pages
}

// mended runs the observer until nothing of the node is left to mend.
func mended(t *testing.T, a *Arena, node numa.Node) NodeStats {
	t.Helper()
	i := a.topo.Index(node)
	for range 1000 {
		if a.observed(); a.Stats().Nodes[i].Elsewhere == 0 && !a.observer.sweeps[i].on {
			break
		}
	}
	return a.Stats().Nodes[i]
}

// TestNUMAFullNodeIsMended: pages that fall to other nodes while theirs is full are found, and
// brought home once it has room: those in use are moved, with their contents, and free ones are
// not used again as local ones.
func TestNUMAFullNodeIsMended(t *testing.T) {
	node, several := smallestNode(t)
	if !several {
		return
	}
	a := open(t, Config{Topology: numa.System(), Span: 64 * mib, Observe: time.Hour, NodeLimit: Unlimited, MaxDirty: Unlimited,
		HugePages: HugeNever})
	i := a.topo.Index(node)
	free := fill(t, node)
	defer func() { free() }()
	held, pages := touched(t, a, node, 256)
	freed, freedPages := touched(t, a, node, 256)
	fell := away(t, pages, node)
	t.Logf("node %d is full: %d of %d pages in use and %d of %d others fell to another", node, fell, len(pages),
		away(t, freedPages, node), len(freedPages))
	for _, run := range freed {
		a.Free(run.Page)
	}
	a.observed()
	s := a.Stats().Nodes[i]
	if fell < len(pages)/2 || s.Elsewhere == 0 || s.Misplaced == 0 || a.PlacementError(i) == nil {
		t.Errorf("%d fell to another node: %+v, %v", fell, s, a.PlacementError(i))
	}
	free()
	free = func() {}
	s = mended(t, a, node)
	if n := away(t, pages, node); n != 0 || s.Elsewhere != 0 || s.Moved == 0 || a.PlacementError(i) != nil {
		t.Errorf("with room: %d of %d pages lie on other nodes: %+v, %v", n, len(pages), s, a.PlacementError(i))
	}
	for _, run := range held {
		for page := range run.Pages {
			if got := *mem.At[byte](a.Addr(run.Page + page)); got != byte(run.Page) {
				t.Fatalf("run %d has lost its content", run.Page)
			}
		}
	}
	again, pages := touched(t, a, node, 256)
	if n := away(t, pages, node); n != 0 {
		total, free := a.topo.Memory(node)
		t.Errorf("%d of %d pages that are used again lie on other nodes: %+v, before %+v; %d of the node's %d bytes are free",
			n, len(pages), a.Stats().Nodes[i], s, free, total)
	}
	for _, run := range append(held, again...) {
		a.Free(run.Page)
	}
}

// TestNUMACpusetIsFollowed: a cpuset that shrinks and grows is seen. The kernel moves what lay on
// the node that it loses, and the observer moves it back.
func TestNUMACpusetIsFollowed(t *testing.T) {
	node, several := smallestNode(t)
	if !several || !testutil.Child(t) {
		return
	}
	mems := enterCpuset(t)
	a := open(t, Config{Topology: numa.System(), Span: 64 * mib, Observe: time.Hour, HugePages: HugeNever})
	i := a.topo.Index(node)
	runs, pages := touched(t, a, node, 64)
	a.observed()
	if s := a.Stats().Nodes[i]; s.Placement != "bound" || s.Sampled == 0 || s.Elsewhere != 0 || a.PlacementError(i) != nil {
		t.Errorf("before: %+v, %v", s, a.PlacementError(i))
	}
	var others []string
	for _, n := range a.topo.Fallback(numa.NoNode) {
		if n != node {
			others = append(others, strconv.Itoa(int(n)))
		}
	}
	mems(strings.Join(others, ","))
	more, _ := touched(t, a, node, 64)
	a.observed()
	if s := a.Stats().Nodes[i]; !strings.HasSuffix(s.Placement, "cpuset.mems excludes the node") || a.PlacementError(i) == nil {
		t.Errorf("without the node: %+v, %v", s, a.PlacementError(i))
	}
	mems(strings.Join(append(others, strconv.Itoa(int(node))), ","))
	s := mended(t, a, node)
	if n := away(t, pages, node); n != 0 || s.Placement != "bound" || a.PlacementError(i) != nil {
		t.Errorf("with the node again: %d pages lie on other nodes: %+v, %v", n, s, a.PlacementError(i))
	}
	for _, run := range append(runs, more...) {
		a.Free(run.Page)
	}
}

// enterCpuset moves the process to a new cgroup. mems changes the nodes that this allows.
func enterCpuset(t *testing.T) (mems func(list string)) {
	t.Helper()
	root := t.TempDir()
	err := syscall.Mount("none", root, "cgroup2", 0, "")
	testutil.NeedHost(t, "a cgroup file system", "cgroup-tools", err)
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	group := filepath.Join(root, "slubd-test-"+strconv.Itoa(os.Getpid()))
	err = os.Mkdir(group, 0o755)
	testutil.NeedHost(t, "a new cgroup", "cgroup-tools", err)
	write := func(file, text string) {
		err := os.WriteFile(file, []byte(text), 0o644)
		testutil.NeedHost(t, "a cpuset", "cgroup-tools", err)
	}
	write(filepath.Join(root, "cgroup.subtree_control"), "+cpuset")
	write(filepath.Join(group, "cgroup.procs"), strconv.Itoa(os.Getpid()))
	return func(list string) { write(filepath.Join(group, "cpuset.mems"), list) }
}

// TestNUMAMemoryGoesOffline: a node all of whose memory is taken offline is seen, and seen again
// when it is back. Only nodes of movable memory can be taken offline: others are left out.
func TestNUMAMemoryGoesOffline(t *testing.T) {
	topo := numa.System()
	if _, several := smallestNode(t); !several {
		return
	}
	for _, node := range topo.Fallback(numa.NoNode)[1:] {
		blocks, _ := filepath.Glob("/sys/devices/system/node/node" + strconv.Itoa(int(node)) + "/memory[0-9]*/state")
		a := open(t, Config{Topology: topo, Span: 64 * mib, Observe: time.Hour, HugePages: HugeNever})
		i := topo.Index(node)
		runs, pages := touched(t, a, node, 16)
		var off []string
		for _, file := range blocks {
			if os.WriteFile(file, []byte("offline"), 0o644) == nil {
				off = append(off, file)
			}
		}
		a.observed()
		now, err := topo.MemoryNow()
		if err != nil {
			t.Fatal(err)
		}
		s, failure := a.Stats().Nodes[i], a.PlacementError(i)
		t.Logf("node %d: %d of %d blocks are offline, %v have memory", node, len(off), len(blocks), now)
		lost := len(off) == len(blocks) && len(blocks) > 0
		if got := strings.HasSuffix(s.Placement, "the node's memory is offline"); got != lost || lost && failure == nil {
			t.Errorf("with all memory offline, %v: %+v, %v", lost, s, failure)
		}
		for _, file := range off {
			if err := os.WriteFile(file, []byte("online_movable"), 0o644); err != nil {
				t.Error(err)
			}
		}
		s = mended(t, a, node)
		if n := away(t, pages, node); n != 0 || a.PlacementError(i) != nil || s.Placement != "bound" {
			t.Errorf("online again: %d pages lie on other nodes: %+v, %v", n, s, a.PlacementError(i))
		}
		for _, run := range runs {
			a.Free(run.Page)
		}
	}
}

// TestNUMAFirstTouchWhenAssumed: where sysfs tells no nodes, each CPU's pages lie on its own node,
// as the kernel has them without a policy. .ci/numa hides sysfs for it.
func TestNUMAFirstTouchWhenAssumed(t *testing.T) {
	if !numa.System().Assumed() {
		return
	}
	a := open(t, Config{Topology: numa.System(), Span: 64 * mib, HugePages: HugeNever})
	seen := map[int]bool{}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for cpu := range runtime.NumCPU() {
		restore, err := numa.SetAffinity(cpu)
		if err != nil {
			t.Fatal(err)
		}
		_, node, err := sys.CPU()
		if err != nil {
			t.Fatal(err)
		}
		runs, pages := touched(t, a, 0, 8)
		if n := away(t, pages, numa.Node(node)); n != 0 {
			t.Errorf("CPU %d of node %d: %d of %d pages lie on other nodes", cpu, node, n, len(pages))
		}
		seen[node] = true
		defer func() {
			for _, run := range runs {
				a.Free(run.Page)
			}
		}()
		if err := restore(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("CPUs of %d nodes; placement %s", len(seen), a.Stats().Nodes[0].Placement)
}
