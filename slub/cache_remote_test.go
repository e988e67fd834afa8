package slub_test

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// A CPU frees objects of other nodes into sheaves of its own, which take them home. Node 2 has no
// CPU where there are two. No object goes to its slab alone.
func TestFreesOfRemoteObjects(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const n = 1000
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 3)})
	for _, node := range []numa.Node{1, 2} {
		for name, free := range map[string]func(c *slub.Cache, ps []unsafe.Pointer){
			"Free": func(c *slub.Cache, ps []unsafe.Pointer) {
				for _, p := range ps {
					c.Free(p)
				}
			},
			"FreeRCU": func(c *slub.Cache, ps []unsafe.Pointer) {
				for _, p := range ps {
					c.FreeRCU(p)
				}
			},
			"FreeBulk": func(c *slub.Cache, ps []unsafe.Pointer) { c.FreeBulk(ps) },
			"FreeDeferred": func(c *slub.Cache, ps []unsafe.Pointer) {
				for _, p := range ps {
					c.FreeDeferred(p)
				}
				_ = c.Barrier(context.Background()) // drains the list on this CPU
			},
		} {
			t.Run(name, func(t *testing.T) {
				// While the timer of FreeRCU has a stack's lock, the CPU's frees are refused.
				c := open(t, a, slub.Config{Size: 64, RCUDelay: time.Hour})
				pinned(t, 0, func() {
					var ps []unsafe.Pointer
					for range n {
						p, err := c.AllocNode(node)
						same(t, "AllocNode", err, nil)
						if a.NodeOf(uintptr(p)) != node {
							t.Fatalf("%p is of node %d", p, a.NodeOf(uintptr(p)))
						}
						ps = append(ps, p)
					}
					if s := c.Stats(); s.Remote.Allocs < n-n/10 {
						t.Errorf("%d of %d objects came from a sheaf", s.Remote.Allocs, n)
					}
					free(c, ps)
				})
				same(t, "Barrier", c.Barrier(context.Background()), nil)
				s := c.Stats()
				if s.InUse != 0 {
					t.Errorf("%d objects are in use", s.InUse)
				}
				there := s.Remote.Frees + s.Remote.FreesRCU
				switch name {
				case "Free", "FreeRCU":
					if there != n || s.Events[slub.FreeSlowpath]+s.Events[slub.FreeRCUSheafFail] != 0 {
						t.Errorf("%d of %d objects went to a sheaf: %v", there, n, s.Events)
					}
				case "FreeBulk":
					if there == 0 || there+s.Events[slub.FreeSlowpath] != n {
						t.Errorf("%d of %d objects went to a sheaf: %v", there, n, s.Events)
					}
				case "FreeDeferred": // counts as a free only what goes to its slab
					if s.Events[slub.FreeSlowpath] >= n {
						t.Errorf("none of %d objects went to a sheaf: %v", n, s.Events)
					}
				}
				c.Shrink()
				if s := c.Stats(); s.SheafObjects != 0 {
					t.Errorf("%d objects are in sheaves after Shrink", s.SheafObjects)
				}
			})
		}
	}
}

// Malloc's size classes do the same, by Buckets' own sequence first.
func TestMallocFreesRemoteObjects(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2), Span: 64 * mib})
	// With a shorter delay a timer would hold the stack at times.
	b := openBuckets(t, a, slub.BucketsConfig{RCUDelay: time.Hour})
	pinned(t, 0, func() {
		for _, size := range []int{64, 5000} {
			var ps []unsafe.Pointer
			for range 500 {
				p, err := b.MallocNode(size, 1)
				same(t, "MallocNode", err, nil)
				ps = append(ps, p)
			}
			for i, p := range ps {
				if i%2 == 0 {
					b.Free(p)
				} else {
					b.FreeRCU(p)
				}
			}
		}
	})
	same(t, "Barrier", b.Barrier(context.Background()), nil)
	var remote uint64
	for c := range slub.Caches() {
		if c.Buckets() == b {
			s := c.Stats()
			remote += s.Remote.Frees + s.Remote.FreesRCU
			if n := s.Events[slub.FreeSlowpath] + s.Events[slub.FreeRCUSheafFail]; n != 0 {
				t.Errorf("cache %s: %d objects went to no sheaf", s.Name, n)
			}
		}
	}
	if remote != 1000 {
		t.Errorf("%d of 1000 objects went to a sheaf of another node", remote)
	}
}

// What has freed its last object of another node gives its sheaves up, as other idle sheaves are.
func TestClosedCacheHasNoRemoteSheaves(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	for range 3 {
		c := open(t, a, slub.Config{Size: 64})
		pinned(t, 0, func() {
			p, err := c.AllocNode(1)
			same(t, "AllocNode", err, nil)
			c.Free(p)
			q, err := c.AllocNode(1)
			same(t, "AllocNode", err, nil)
			c.FreeRCU(q)
		})
		same(t, "Close", c.Close(), nil)
		if s := c.Stats(); s.InUse != 0 || s.Remote.Objects != 0 {
			t.Errorf("a closed cache has %d objects in use, %+v", s.InUse, s.Remote)
		}
	}
	if used := a.InUse(); used != 0 {
		t.Errorf("%d bytes of slabs are left", used)
	}
}
