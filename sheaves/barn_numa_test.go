//go:build linux && !race

package sheaves

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
)

// Barns of several nodes lie outside Go's heap.

func addrOf(b *barn) uintptr { return uintptr(unsafe.Pointer(b.barnWords)) }

// setOf makes a Set with slots of its own.
func setOf(t *testing.T, nodes int, memory *NodeMemory) *Set {
	t.Helper()
	s, err := New(Config{Source: newSource(t, nodes), Domain: new(rcu.Domain), Capacity: 4, Nodes: nodes,
		NodeOfCPU: taking(nodes), NodeMemory: memory})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closedSets opens and closes that many Sets of two nodes.
func closedSets(t *testing.T, n int) (sets []*Set) {
	t.Helper()
	for range n {
		s := setOf(t, 2, nodeMemory(2))
		s.Close()
		sets = append(sets, s)
	}
	return sets
}

// barnsOf returns the addresses of all their barns.
func barnsOf(sets []*Set) map[uintptr]bool {
	addrs := map[uintptr]bool{}
	for _, s := range sets {
		for i := range s.barns {
			addrs[addrOf(&s.barns[i])] = true
		}
	}
	return addrs
}

// TestBarnsApart: no two barns share a line, and none of two nodes a page.
func TestBarnsApart(t *testing.T) {
	nodeOf, lines := map[uintptr]int{}, map[uintptr]bool{}
	for range 30 {
		r := newRig(t, 3)
		for node := range r.barns {
			addr := addrOf(&r.barns[node])
			page := mem.AlignDown(addr, mem.PageSize)
			if other, ok := nodeOf[page]; ok && other != node {
				t.Fatalf("barns of nodes %d and %d lie in one page", node, other)
			}
			nodeOf[page] = node
			if addr%nodemem.Align != 0 {
				t.Fatalf("a barn begins at %#x", addr)
			}
			for line := addr; line < addr+unsafe.Sizeof(barnWords{}); line += mem.CacheLine {
				if lines[line] {
					t.Fatalf("two barns share the line at %#x", line)
				}
				lines[line] = true
			}
		}
	}
}

// TestBarnsAreUsedAgain: the memory of barns is used again once their Set is closed and nothing
// refers to it, and not before. A goroutine that is late refers to a barn only.
func TestBarnsAreUsedAgain(t *testing.T) {
	live := newRig(t, 2) // its barns hold sheaves
	live.arrange(state{main: 0, spare: none, full: 2, empty: 1})
	late := &closedSets(t, 1)[0].barns[1]
	gone, again := barnsOf(closedSets(t, 20)), 0
	var after []*Set // they keep what they get, so that the next ones get something else
	inUse := map[uintptr]bool{addrOf(&live.barns[0]): true, addrOf(&live.barns[1]): true, addrOf(late): true}
	for start := time.Now(); again < 30; time.Sleep(time.Millisecond) {
		runtime.GC()
		sets := closedSets(t, 5)
		after = append(after, sets...)
		for addr := range barnsOf(sets) {
			if inUse[addr] {
				t.Fatalf("the barn at %#x is another one's", addr)
			}
			inUse[addr] = true
			if gone[addr] {
				delete(gone, addr)
				again++
			}
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%d of 40 barns were used again in a minute", again)
		}
	}
	live.expect(state{main: 0, spare: none, full: 2, empty: 1}, events{})
	if late.waits() != 0 || late.fulls() != 0 || !late.tryLock() {
		t.Errorf("a closed barn that a goroutine has: %+v", late.barnWords)
	}
	late.unlock()
	runtime.KeepAlive(after)
}

// TestBarnsInHeap: a Set is made, and works, where there is no memory on the nodes.
func TestBarnsInHeap(t *testing.T) {
	on := []numa.Node{1000, 1001} // numbers that the machine doesn't have, so that mbind is refused
	before := nodemem.Taken()
	r := newRigOf(t, 2, func(c *Config) { c.NodeMemory = (*NodeMemory)(nodemem.New(on)) })
	if n := nodemem.Taken() - before; n > 0 {
		t.Errorf("%d barns lie on nodes that don't exist", n)
	}
	r.got(r.TryAlloc())
	r.arrange(state{main: 0, spare: none, full: 1})
	r.got(r.TryAlloc())
}

// TestNUMABarnsLieOnTheirNode asks the kernel.
func TestNUMABarnsLieOnTheirNode(t *testing.T) {
	topology := numa.System()
	on := make([]numa.Node, topology.NodeCount())
	for i, node := range topology.Nodes() {
		on[i] = topology.Fallback(node)[0]
	}
	var sets []*Set
	var addrs []uintptr
	for range 100 {
		s := setOf(t, len(on), (*NodeMemory)(nodemem.New(on)))
		defer s.Close()
		sets = append(sets, s)
		for i := range s.barns {
			addrs = append(addrs, addrOf(&s.barns[i]))
		}
	}
	where, err := numa.Where(addrs)
	testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
	for i, got := range where {
		if want := on[i%len(on)]; len(on) > 1 && got != want {
			t.Fatalf("a barn of node %v lies on node %d, want %d", topology.Nodes()[i%len(on)], got, want)
		}
	}
	runtime.KeepAlive(sets)
}
