package numa

import (
	"errors"
	"maps"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// These tests run against the real machine, as those of machine_linux_test.go.

// TestNUMAObserve: both sources see the touched pages of each node.
func TestNUMAObserve(t *testing.T) {
	topo := machine(t)
	const n = 40
	var samples []Sample
	var want []Observed
	for _, node := range topo.Fallback(NoNode) {
		addr, touched := touch(t, n, node)
		samples = append(samples, Sample{Addr: addr, Bytes: n * mem.PageSize})
		want = append(want, Observed{node: len(touched)})
	}
	check := func(what, wantSource string, want []Observed) {
		t.Helper()
		seen, source, err := Observe(samples)
		if err != nil || source != wantSource || !slices.EqualFunc(seen, want, maps.Equal) {
			t.Errorf("%s: %v by %s, %v, want %v by %s", what, seen, source, err, want, wantSource)
		}
	}
	check("by pages", SourceMovePages, want)
	restore := sys.FailNth(sys.CallNodesOf, 0, syscall.EPERM)
	check("by mappings", SourceNumaMaps, want)
	restore()
	for i := range samples {
		samples[i].Pages = []uintptr{samples[i].Addr, samples[i].Addr + mem.PageSize}
		want[i] = Observed{topo.Fallback(NoNode)[i]: 1}
	}
	check("named pages", SourceMovePages, want)
}

// TestNUMAObserveUnderSeccomp: where a seccomp filter refuses move_pages, the kernel's counts of
// the mappings tell the same, and Where and Move say that they are refused.
func TestNUMAObserveUnderSeccomp(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	testutil.NeedHost(t, "seccomp", "linux-image-amd64", sys.RefuseCalls(unix.SYS_MOVE_PAGES))
	for _, node := range machine(t).Fallback(NoNode) {
		addr, touched := touch(t, 40, node)
		seen, source, err := Observe([]Sample{{Addr: addr, Bytes: 40 * mem.PageSize}})
		if err != nil || source != SourceNumaMaps || !maps.Equal(seen[0], Observed{node: len(touched)}) {
			t.Errorf("%v by %s, %v, want %d pages on node %d", seen, source, err, len(touched), node)
		}
		if _, err := Where(touched); !errors.Is(err, ErrRefused) {
			t.Errorf("Where: %v", err)
		}
		if there, err := Move(touched, node); there != 0 || !errors.Is(err, ErrRefused) {
			t.Errorf("Move: %d, %v", there, err)
		}
	}
}

// TestNUMAMove: pages move to each node and keep their contents; those that were never touched
// don't appear there.
func TestNUMAMove(t *testing.T) {
	topo := machine(t)
	const n = 40
	nodes := topo.Fallback(NoNode)
	addr, touched := touch(t, n, nodes[0])
	var all []uintptr
	for i := range uintptr(n) {
		all = append(all, addr+i*mem.PageSize)
	}
	// The policy binds what is touched from now on; a move is up to its caller.
	for _, node := range slices.Concat(nodes[1:], nodes[:1]) {
		there, err := Move(all, node)
		testutil.NeedHost(t, "move_pages", "linux-image-amd64", err)
		for try := 0; err == nil && there != len(touched) && try < 1000; try++ {
			there, err = Move(all, node) // some pages may have been in the kernel's hands
		}
		where := whereTouched(t, touched)
		if err != nil || there != len(touched) || !slices.Equal(where, slices.Repeat([]Node{node}, len(touched))) {
			t.Errorf("to node %d: %d are there, %v, want %d; they lie on %v", node, there, err, len(touched), where)
		}
		for _, at := range touched {
			if *mem.At[byte](at) != 1 {
				t.Fatalf("on node %d, %#x has lost its content", node, at)
			}
		}
	}
}

// TestNUMAAllowed: the process may use what it uses.
func TestNUMAAllowed(t *testing.T) {
	topo := machine(t)
	allowed, err := Allowed()
	if err != nil || len(allowed) == 0 {
		t.Fatalf("allowed nodes %v, %v", allowed, err)
	}
	if now, err := topo.MemoryNow(); topo.Source() == "sysfs" && (err != nil || !slices.Equal(now, sorted(topo.Fallback(NoNode)))) {
		t.Errorf("nodes with memory now %v, %v; at the start %v", now, err, topo.Fallback(NoNode))
		logMemory(t)
	}
}

func sorted(nodes []Node) []Node {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	return nodes
}

// touch reserves pages of which every second one is touched, with the policy.
func touch(t *testing.T, n uintptr, node Node) (addr uintptr, touched []uintptr) {
	t.Helper()
	addr = pages(t, n)
	_, err := Policy{Mode: Bind, Nodes: []Node{node}, Strictness: Strict}.Apply(addr, n*mem.PageSize)
	testutil.NeedHost(t, "mbind", "linux-image-amd64", err)
	_ = sys.AdviseHuge(addr, n*mem.PageSize, false) // a kernel without huge pages refuses
	for i := uintptr(0); i < n; i += 2 {
		*mem.At[byte](addr + i*mem.PageSize) = 1
		touched = append(touched, addr+i*mem.PageSize)
	}
	return addr, touched
}
