package slub_test

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// If the kernel made a slab and found at once that it did not need it, it raised the slab
// counters twice, or not at all.
func TestSlabCountsAfterFailedRefill(t *testing.T) {
	withoutSamples(t) // a sample takes a slab of its own, and the arena is small
	a := newArena(t, arena.Config{Limit: 256 << 10, MaxDirty: 1})
	domain := new(rcu.Domain)
	for name, cfg := range map[string]slub.Config{
		"sheaves":    {Size: 512},
		"no sheaves": {Size: 512, Flags: slub.NoSheaves, MinPartial: 1},
		"type-safe":  {Size: 512, Flags: slub.TypesafeByRCU, Domain: domain},
		"large":      {Size: 512, Slabs: slub.SlabLimits{MinOrder: 3}},
	} {
		c := open(t, a, cfg)
		counted(t, c, name+", new")
		ps := take(t, c, 100)
		counted(t, c, name+", 100 objects out")
		// Takes every slab that the limit has left, and gives them back.
		same(t, "AllocBulk", c.AllocBulk(make([]unsafe.Pointer, 1000)), slub.ErrNoMemory)
		counted(t, c, name+", after a bulk that failed")
		if cfg.Flags&slub.NoSheaves == 0 {
			_, err := c.Prefill(1000)
			same(t, "Prefill", err, slub.ErrNoMemory)
			counted(t, c, name+", after a prefill that failed")
		}
		freeAll(c, ps)
		counted(t, c, name+", all free")
		if left := c.Shrink(); left != 0 {
			t.Errorf("%s: %d slabs are left", name, left)
		}
		counted(t, c, name+", shrunk")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The kernel's bulk free put objects of other nodes into an array of 32; when it was full, the
// local objects found so far were lost (af9ea231c0b4).
func TestBulkFreeOfManyRemoteObjects(t *testing.T) {
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 2)}), slub.Config{Size: 64})
	for name, remote := range map[string]func(i int) bool{
		"every other":   func(i int) bool { return i%2 == 0 },
		"mostly remote": func(i int) bool { return i%8 != 0 },
		"mostly local":  func(i int) bool { return i%8 == 0 },
		"remote first":  func(i int) bool { return i < 100 },
		"remote last":   func(i int) bool { return i > 300 },
	} {
		ps := make([]unsafe.Pointer, 400)
		for i := range ps {
			node := numa.Node(0)
			if remote(i) {
				node = 1
			}
			p, err := c.AllocNode(node)
			if err != nil {
				t.Fatal(err)
			}
			ps[i] = p
		}
		before := c.Stats()
		c.FreeBulk(ps)
		after := c.Stats()
		freed := after.Events[slub.FreeFastpath] + after.Events[slub.FreeSlowpath] - before.Events[slub.FreeFastpath] - before.Events[slub.FreeSlowpath]
		if left := c.Shrink(); freed != 400 || after.InUse != 0 || left != 0 {
			t.Errorf("%s: %d of 400 freed, %d in use; %d slabs left", name, freed, after.InUse, left)
		}
	}
}

// On a node without memory the kernel found no object to be local, and callers that must not
// block could not refill: every operation went to the slabs, at a third of the speed
// (fb1091febd66). Here the own node of such a CPU is the nearest one with memory, and every Alloc
// may refill.
func TestNodeWithoutMemoryUsesSheaves(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	cpus := make([]int, numa.System().NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	topology, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, Memory: 1 << 30, Distance: []int{10, 40, 20}},
		testutil.SysNode{ID: 1, Memory: 1 << 30, Distance: []int{40, 10, 30}},
		testutil.SysNode{ID: 2, CPUs: cpus, Distance: []int{20, 30, 10}}))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, newArena(t, arena.Config{Topology: topology}), slub.Config{Size: 64})
	pinned(t, 0, func() {
		for range 20 {
			freeAll(c, take(t, c, 100))
		}
	})
	s := c.Stats()
	if s.Events[slub.AllocSlowpath] > 20 || s.Events[slub.FreeSlowpath] > 20 || s.Events[slub.SheafRefill] == 0 {
		t.Errorf("of 2000 each, %d allocations and %d frees went to slabs; %d objects by refill",
			s.Events[slub.AllocSlowpath], s.Events[slub.FreeSlowpath], s.Events[slub.SheafRefill])
	}
	if s.Nodes[0].Slabs == 0 || s.Nodes[1].Slabs+s.Nodes[2].Slabs != 0 {
		t.Errorf("the nearest node with memory is 0; slabs on %+v", s.Nodes)
	}
	_, err = c.AllocNode(2)
	same(t, "AllocNode of a node without memory", err, slub.ErrNoMemory)
}

// The kernel's validation of debug caches counted a slab's objects while a free that changed them
// had not yet taken the lock, and reported a fault that was none. Here Validate holds the lock
// that a refill needs, and frees only add objects in front of the chain that it checks.
func TestValidateDuringFrees(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 256, Flags: slub.NoSheaves, MinPartial: 1})
	var users sync.WaitGroup
	during(func() {
		for range 3 {
			users.Go(func() {
				ps := make([]unsafe.Pointer, 0, 50)
				for i := range testutil.Stress(t, 60_000) / 3 {
					if len(ps) < cap(ps) && i%3 != 0 || len(ps) == 0 {
						p, err := c.Alloc()
						if err != nil {
							t.Error(err)
							return
						}
						ps = append(ps, p)
						continue
					}
					k := i * 7 % len(ps)
					c.Free(ps[k])
					ps[k], ps = ps[len(ps)-1], ps[:len(ps)-1]
				}
				c.FreeBulk(ps)
			})
		}
		users.Wait()
	}, every(100*time.Microsecond, func() {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}), every(time.Millisecond, func() { c.Shrink() }))
	counted(t, c, "in the end")
}
