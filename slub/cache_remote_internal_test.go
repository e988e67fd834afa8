package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
)

// The first free of an object of another node makes the sequences for such objects, one for each
// other node. A cache without such frees has none, nor has one whose frees call hooks.
func TestNodeOpsAreMadeOnDemand(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 3)})
	for name, free := range map[string]func(*Cache, unsafe.Pointer){"Free": (*Cache).Free, "FreeRCU": (*Cache).FreeRCU} {
		for _, hooked := range []bool{false, true} {
			cfg, n := Config{Size: 64}, 0
			if hooked {
				cfg.Hooks = balancing(&n)
			}
			cfg.Hardened = None
			c, sequences := open(t, a, cfg), !hooked && !checked // objects with marks have none
			pinned(t, 0, func() {
				for node, want := range []bool{false, sequences, sequences} {
					p, err := c.allocSlab(node, true, false)
					if err != nil {
						t.Fatal(err)
					}
					c.prepare(p, 0)
					free(c, p)
					if got := c.ops().made; got != want {
						t.Errorf("%s of an object of node %d, hooks %v: sequences for other nodes %v, want %v", name, node, hooked, got, want)
					}
				}
			})
		}
	}
}

// Where its own node is full, a CPU's main sheaf has objects of another one. AllocNode pops such an
// object, gives it back, and counts nothing.
func TestUnwantedNodeIsNotCounted(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	c := open(t, a, Config{Size: 64})
	for name, node := range map[string]int{"own": 0, "remote": 1} {
		pinned(t, 0, func() {
			home := a.Topology().Nodes()[node]
			p, err := c.AllocNode(home) // makes the sequences
			same(t, "AllocNode", err, nil)
			c.Free(p)
			c.Shrink()
			same(t, "SetNodeLimit", a.SetNodeLimit(home, None), nil)
			held := take(t, c, 3) // for node 0, leaves a refill's objects of node 1 in main
			before := c.Stats()
			for range 3 {
				_, err = c.AllocNode(home)
				same(t, name+": AllocNode of a full node", err, ErrNoMemory)
			}
			now := c.Stats()
			if now.Events[AllocFastpath] != before.Events[AllocFastpath] || now.Remote.Allocs != before.Remote.Allocs || now.InUse != before.InUse {
				t.Errorf("%s: %d allocations and %d in use, before %d and %d", name, now.Events[AllocFastpath], now.InUse, before.Events[AllocFastpath], before.InUse)
			}
			if node == 0 && !checked && now.Events[SheafFlush] == before.Events[SheafFlush] {
				t.Error("AllocNode has popped no object of another node")
			}
			freeAll(c, held)
			same(t, "SetNodeLimit", a.SetNodeLimit(home, 0), nil)
		})
	}
}

// AllocNode of a closed alias fails, also once it has sequences on stacks that other caches share.
func TestClosedAliasHasNoNodes(t *testing.T) {
	for _, made := range []bool{false, true} {
		a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
		other := open(t, a, Config{Size: 64, Flags: Merge})
		alias := open(t, a, Config{Size: 64, Flags: Merge})
		pinned(t, 0, func() {
			if made {
				for range 2 {
					p, err := alias.AllocNode(0)
					same(t, "AllocNode", err, nil)
					alias.Free(p)
				}
			}
			same(t, "Close", alias.Close(), nil)
			freeAll(other, take(t, other, 1)) // an object is at hand
			_, err := alias.AllocNode(0)
			same(t, "AllocNode of a closed alias", err, ErrClosed)
			alias.makeNodeOps()
			_, err = alias.AllocNode(0)
			same(t, "AllocNode of a closed alias", err, ErrClosed)
			p, err := other.AllocNode(0)
			same(t, "AllocNode", err, nil)
			other.Free(p)
		})
	}
}

// Only the first AllocNode of a node takes the slow path: the CPU's own node and the other one are
// served by sequences, which refuse unknown nodes.
func TestAllocNodeBySequence(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	if checked {
		return // allocates in Go
	}
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	c := open(t, a, Config{Size: 64, Hardened: None})
	pinned(t, 0, func() {
		for _, node := range a.Topology().Nodes() {
			p, err := c.AllocNode(node)
			same(t, "AllocNode", err, nil)
			c.Free(p)
			c.closed.Store(true) // the slow path fails, and the sequences don't know
			p, err = c.AllocNode(node)
			c.closed.Store(false)
			if err != nil {
				t.Errorf("node %d: the slow path: %v", node, err)
				continue
			}
			if got := a.NodeOf(uintptr(p)); got != node {
				t.Errorf("node %d: got an object of %d", node, got)
			}
			c.Free(p)
		}
		for _, node := range []int{2, 99, 1 << 40, -2} {
			_, err := c.AllocNode(numa.Node(node))
			same(t, "AllocNode of an unknown node", err, ErrNode)
		}
		p, err := c.AllocNode(numa.NoNode)
		same(t, "AllocNode(NoNode)", err, nil)
		c.Free(p)
	})
}
