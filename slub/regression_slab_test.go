package slub

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
)

// counted compares the counts of slabs, objects and partial slabs with a walk over the
// arena, when nobody uses the cache.
func counted(t *testing.T, c *Cache, when string) {
	t.Helper()
	type figures struct{ slabs, objects, partial, free uint64 }
	nodes := make([]figures, len(c.slabs.nodes))
	for s := range c.slabs.all() {
		f, st := &nodes[s.node], s.load()
		f.slabs++
		f.objects += uint64(s.objects)
		if s.listed != (st.free != 0) {
			t.Errorf("%s: the slab at %#x is listed: %v, has free objects: %v", when, s.addr, s.listed, st.free != 0)
		}
		if st.free != 0 {
			f.partial++
			f.free += uint64(s.objects - st.inuse)
		}
	}
	for i, n := range c.Stats().Nodes {
		if got := (figures{n.Slabs, n.Objects, n.Partial, n.FreeInSlabs}); got != nodes[i] {
			t.Errorf("%s: node %d counts %+v, has %+v", when, n.Node, got, nodes[i])
		}
	}
	if err := c.Validate(); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

// Of a slab that was made and at once found to be unwanted, the counters were raised
// twice, or not at all.
func TestRegression09SlabCounters(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 256 << 10, MaxDirty: 1})
	domain := new(rcu.Domain)
	for name, cfg := range map[string]Config{
		"sheaves":    {Size: 512},
		"no sheaves": {Size: 512, Flags: NoSheaves, MinPartial: 1},
		"type-safe":  {Size: 512, Flags: TypesafeByRCU, Domain: domain},
		"large":      {Size: 512, Slabs: Slabs{MinOrder: 3}},
	} {
		c := open(t, a, cfg)
		counted(t, c, name+", new")
		ps := take(t, c, 100)
		counted(t, c, name+", 100 objects out")
		// Takes every slab that the limit has left, and gives them back.
		same(t, "AllocBulk", c.AllocBulk(make([]unsafe.Pointer, 1000)), ErrNoMemory)
		counted(t, c, name+", after a bulk that failed")
		if cfg.Flags&NoSheaves == 0 {
			_, err := c.Prefill(1000)
			same(t, "Prefill", err, ErrNoMemory)
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

// Bulk free put remote objects aside in an array of 32; when that was full the local
// objects found so far were forgotten.
func TestRegression10BulkFreeOfManyRemote(t *testing.T) {
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 2)}), Config{Size: 64})
	for name, remote := range map[string]func(i int) bool{
		"every other":    func(i int) bool { return i%2 == 0 },
		"mostly remote":  func(i int) bool { return i%8 != 0 },
		"mostly local":   func(i int) bool { return i%8 == 0 },
		"remote first":   func(i int) bool { return i < 100 },
		"remote at last": func(i int) bool { return i > 300 },
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
		freed := after.Events[FreeFastpath] + after.Events[FreeSlowpath] - before.Events[FreeFastpath] - before.Events[FreeSlowpath]
		if left := c.Shrink(); freed != 400 || after.InUse != 0 || left != 0 {
			t.Errorf("%s: %d of 400 freed, %d in use; %d slabs left", name, freed, after.InUse, left)
		}
	}
}

// A refill gave back the rest of a slab's chain without the node's lock; a free that saw
// the chain, and the slab not listed, left it unlisted, or both listed it. The lock is
// held across the exchange now. First each order of the two by hand, then many at once.
func TestRegression11LeftoverChain(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, MinPartial: 1})
	// private takes a slab off the list as a refill does, with all but two objects free.
	private := func() (s slabRef, ps []unsafe.Pointer) {
		ps = take(t, c, c.perSlab)
		freeAll(c, ps[2:])
		s = c.slabs.slabOf(uintptr(ps[0]))
		n := &c.slabs.nodes[0]
		n.mu.Lock()
		n.remove(c.slabs, s)
		n.mu.Unlock()
		return s, ps
	}
	out := func(s slabRef) []unsafe.Pointer {
		got := make([]unsafe.Pointer, 5)
		if n := c.slabs.empty(s, got); n != len(got) {
			t.Errorf("%d objects of 5", n)
		}
		return got
	}
	s, ps := private()
	freeAll(c, ps[:2]) // the slab is empty now, and nobody's business but the refill's
	if s.listed || c.Stats().Nodes[0].Slabs != 1 {
		t.Error("a free has listed or given back a slab that a refill has taken")
	}
	freeAll(c, out(s))
	counted(t, c, "frees before the refill empties the chain")

	s, ps = private()
	st := s.load()
	if !s.state.CompareAndSwap(st.pack(), slabState{inuse: s.objects}.pack()) {
		t.Fatal("the slab changes by itself")
	}
	c.Free(ps[0]) // lists it
	c.slabs.giveBack(s, s.first(st), int(s.objects-st.inuse))
	c.Free(ps[1])
	counted(t, c, "a free before the refill gives the rest back")

	s, ps = private()
	st = s.load()
	if !s.state.CompareAndSwap(st.pack(), slabState{inuse: s.objects}.pack()) {
		t.Fatal("the slab changes by itself")
	}
	n, given := &c.slabs.nodes[0], make(chan bool)
	n.mu.Lock()
	go func() { c.slabs.giveBack(s, s.first(st), int(s.objects-st.inuse)); close(given) }()
	time.Sleep(5 * time.Millisecond)
	if s.load().free != 0 {
		t.Error("the chain is back without the lock: a free that empties the slab now won't find it listed")
	}
	n.mu.Unlock()
	<-given
	freeAll(c, ps[:2])
	counted(t, c, "the rest given back while the lock was held")
	c.Shrink()

	var users sync.WaitGroup
	ring := make(chan unsafe.Pointer, 3*c.perSlab)
	for range 4 {
		users.Go(func() {
			for range testutil.Stress(t, 200_000) / 4 {
				p, err := c.Alloc() // each a refill for one, with a rest
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case ring <- p:
				case q := <-ring:
					c.Free(q)
					c.Free(p)
				}
			}
		})
	}
	users.Wait()
	counted(t, c, "after the storm")
	close(ring)
	for p := range ring {
		c.Free(p)
	}
	counted(t, c, "in the end")
	if s := c.Stats(); s.InUse != 0 || c.Shrink() != 0 {
		t.Errorf("%d in use: %+v", s.InUse, s.Nodes)
	}
}

// On a node without memory no object was ever local, and who might not block was not
// let refill: every operation went to the slabs, at a third of the speed. Here such a
// CPU's own node is the nearest one that has memory, and every Alloc refills.
func TestRegression16MemorylessNode(t *testing.T) {
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
	c := open(t, newArena(t, arena.Config{Topology: topology}), Config{Size: 64})
	pinned(t, 0, func() {
		for range 20 {
			freeAll(c, take(t, c, 100))
		}
	})
	s := c.Stats()
	if s.Events[AllocSlowpath] > 20 || s.Events[FreeSlowpath] > 20 || s.Events[SheafRefill] == 0 {
		t.Errorf("of 2000 each, %d allocations and %d frees went to slabs; %d objects by refill",
			s.Events[AllocSlowpath], s.Events[FreeSlowpath], s.Events[SheafRefill])
	}
	if s.Nodes[0].Slabs == 0 || s.Nodes[1].Slabs+s.Nodes[2].Slabs != 0 {
		t.Errorf("the nearest node with memory is 0; slabs on %+v", s.Nodes)
	}
	_, err = c.AllocNode(2)
	same(t, "AllocNode of a node without memory", err, ErrNoMemory)
}

// All CPUs whose own node had nothing left waited for the list lock of the same other
// node. It is tried only: who doesn't get it makes a new slab at home.
func TestRegression17RemoteListLock(t *testing.T) {
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 2)}), Config{Size: 1024, Flags: NoSheaves})
	var far []unsafe.Pointer
	for range 20 * c.perSlab {
		p, err := c.AllocNode(1)
		if err != nil {
			t.Fatal(err)
		}
		far = append(far, p)
	}
	keep := far[:0]
	for i, p := range far {
		if i%2 == 0 {
			c.Free(p)
		} else {
			keep = append(keep, p)
		}
	}
	if n := c.Stats().Nodes[1].Partial; n <= uint64(c.slabs.keep.Load()) {
		t.Fatalf("%d partial slabs are too few to be taken from", n)
	}
	n := &c.slabs.nodes[1]
	n.mu.Lock()
	var ps []unsafe.Pointer
	pinned(t, 0, func() { ps = take(t, c, c.perSlab) }) // hangs if it waits for the lock
	n.mu.Unlock()
	for _, p := range ps {
		if node := c.Arena().NodeOf(uintptr(p)); node != 0 {
			t.Errorf("%p comes from node %d, whose lock is held", p, node)
		}
	}
	pinned(t, 0, func() { ps = append(ps, take(t, c, 1)...) })
	if node := c.Arena().NodeOf(uintptr(ps[len(ps)-1])); node != 1 {
		t.Errorf("with the lock free, an object of node %d was taken; node 1 has plenty", node)
	}
	c.FreeBulk(append(ps, keep...))
}

// Validation of debug caches counted a slab's objects while a free that changed them had
// not yet taken the lock, and reported what was none. Here it looks under the lock that a
// refill needs, and frees only add before what it looks at.
func TestRegression20ValidateRaces(t *testing.T) {
	c := open(t, nil, Config{Size: 256, Flags: NoSheaves, MinPartial: 1})
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
