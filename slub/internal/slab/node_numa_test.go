//go:build linux && !race

package slab

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// The words of several nodes lie outside Go's heap.

func (s *Slabs) addrOf(node int) uintptr { return uintptr(unsafe.Pointer(s.nodes[node].nodeWords)) }

// closed opens and closes that many Slabs.
func closed(t *testing.T, a *arena.Arena, n int) (all []*Slabs) {
	t.Helper()
	for range n {
		s, err := New(Config{Arena: a, ID: 2, Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		s.FreeCounters()
		all = append(all, s)
	}
	return all
}

// wordsOf returns the addresses of the words of all their nodes.
func wordsOf(all []*Slabs) map[uintptr]bool {
	addrs := map[uintptr]bool{}
	for _, s := range all {
		for i := range s.nodes {
			addrs[s.addrOf(i)] = true
		}
	}
	return addrs
}

// TestNodesApart: no two nodes share a line, and no page has words of two.
func TestNodesApart(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	nodeOf, seen := map[uintptr]int{}, map[uintptr]bool{}
	for range 50 {
		r := open(t, 64, Config{Arena: a})
		for node := range r.nodes {
			addr := r.addrOf(node)
			page := mem.AlignDown(addr, mem.PageSize)
			if other, ok := nodeOf[page]; ok && other != node {
				t.Fatalf("words of nodes %d and %d lie in one page", node, other)
			}
			nodeOf[page] = node
			if addr%nodemem.Align != 0 || seen[addr] {
				t.Fatalf("words begin at %#x, like others: %v", addr, seen[addr])
			}
			seen[addr] = true
		}
	}
}

// TestNodesAreUsedAgain: the words of a node are used again once nothing refers to its Slabs, and
// not before. A goroutine that is late refers to the node only.
func TestNodesAreUsedAgain(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	live := open(t, 64, Config{Arena: a})
	objs := live.takeFrom(1, 3, true)
	late := &closed(t, a, 1)[0].nodes[1]
	gone, again := wordsOf(closed(t, a, 20)), 0
	var after []*Slabs // they keep what they get, so that the next ones get something else
	inUse := map[uintptr]bool{live.addrOf(0): true, live.addrOf(1): true, uintptr(unsafe.Pointer(late.nodeWords)): true}
	for start := time.Now(); again < 30; time.Sleep(time.Millisecond) {
		runtime.GC()
		more := closed(t, a, 5)
		after = append(after, more...)
		for addr := range wordsOf(more) {
			if inUse[addr] {
				t.Fatalf("the words at %#x are another node's", addr)
			}
			inUse[addr] = true
			if gone[addr] {
				delete(gone, addr)
				again++
			}
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("the words of %d of 40 nodes were used again in a minute", again)
		}
	}
	live.counted("beside others")
	live.free(objs...)
	if late.partial.Load() != 0 || !late.mu.TryLock() {
		t.Errorf("a closed node that a goroutine has: %+v", late.nodeWords)
	}
	late.unlock()
	runtime.KeepAlive(after)
}

// TestNUMANodesLieOnTheirNode asks the kernel.
func TestNUMANodesLieOnTheirNode(t *testing.T) {
	topology := numa.System()
	a := newArena(t, arena.Config{Topology: topology})
	var all []*rig
	var addrs []uintptr
	for range 100 {
		r := open(t, 64, Config{Arena: a})
		all = append(all, r)
		for i := range r.nodes {
			addrs = append(addrs, r.addrOf(i))
		}
	}
	where, err := numa.Where(addrs)
	testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
	nodes := topology.Nodes()
	for i, got := range where {
		node := nodes[i%len(nodes)]
		if want := topology.Fallback(node)[0]; len(nodes) > 1 && got != want {
			t.Fatalf("the words of node %d lie on node %d, want %d", node, got, want)
		}
	}
	runtime.KeepAlive(all)
}
