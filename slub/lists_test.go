package slub

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// fullSlabs takes all objects of so many slabs, and returns them by slab.
func fullSlabs(t *testing.T, c *Cache, n int) [][]unsafe.Pointer {
	t.Helper()
	return slices.Collect(slices.Chunk(take(t, c, n*c.perSlab), c.perSlab))
}

// listed reads a node's partial list from the head, as numbers of slabs; -1 for one that
// isn't among them.
func listed(c *Cache, slabs [][]unsafe.Pointer) (list []int) {
	n := &c.slabs.nodes[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	for link := n.head; link != 0; {
		s := c.slabs.linked(link)
		list = append(list, slices.IndexFunc(slabs, func(ps []unsafe.Pointer) bool {
			return c.slabs.slabOf(uintptr(ps[0])).page == s.page
		}))
		link = s.next
	}
	return list
}

func expectListed(t *testing.T, c *Cache, slabs [][]unsafe.Pointer, when string, want ...int) {
	t.Helper()
	if got := listed(c, slabs); !slices.Equal(got, want) {
		t.Errorf("%s the list is %v, want %v", when, got, want)
	}
}

// What goes to the tail of a node's list is to gather free objects before it is emptied
// again, what goes to the head is to be used up first (kernel: __slab_free, get_partial_node).
func TestPartialListOrder(t *testing.T) {
	c := open(t, nil, Config{Size: 256, Flags: NoSheaves, MinPartial: 1})
	slabs := fullSlabs(t, c, 4)
	expectListed(t, c, slabs, "of full slabs")
	for _, i := range []int{2, 0, 1} {
		c.Free(slabs[i][0])
	}
	expectListed(t, c, slabs, "after first frees", 2, 0, 1)
	c.Free(slabs[2][1])
	c.Free(slabs[1][1])
	expectListed(t, c, slabs, "after second frees", 2, 0, 1)
	slabs[2][1] = take(t, c, 1)[0]
	expectListed(t, c, slabs, "when a rest was given back", 0, 1, 2)
	slabs[0][0] = take(t, c, 1)[0]
	expectListed(t, c, slabs, "when a slab was used up", 1, 2)

	// Of a new slab the rest goes to the head.
	var one [1]unsafe.Pointer
	if n, err := c.slabs.takeNew(0, one[:]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	expectListed(t, c, slabs, "after a new slab", -1, 1, 2)
	c.Free(one[0])
	expectListed(t, c, slabs, "when that is empty, and too many", 1, 2)

	// Slabs that a refill took off and found no use for go to the tail, or to the arena.
	n := &c.slabs.nodes[0]
	c.Free(slabs[3][0])
	var private []slabRef
	n.mu.Lock()
	for _, i := range []int{1, 2} {
		s := c.slabs.slabOf(uintptr(slabs[i][0]))
		n.remove(c.slabs, s)
		private = append(private, s)
	}
	n.mu.Unlock()
	freeAll(c, slabs[2][2:]) // only the refill knows it, and slabs[2][0], [2][1] are free or out
	c.Free(slabs[2][1])
	before := c.Stats().Nodes[0].Slabs
	c.slabs.relist(n, private)
	expectListed(t, c, slabs, "after unneeded slabs came back", 3, 1)
	if now := c.Stats().Nodes[0].Slabs; now != before-1 {
		t.Errorf("%d slabs of %d: the empty one was not wanted", now, before)
	}
	counted(t, c, "in the end")
	freeAll(c, slabs[0])
	freeAll(c, slabs[1][2:])
	freeAll(c, slabs[3][1:])
}

// Shrink gives back empty slabs, and lets the fullest be used up first, so that others
// become empty (kernel: __kmem_cache_do_shrink); it returns how many there are, full ones included.
func TestShrinkSorts(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, MinPartial: 20})
	slabs := fullSlabs(t, c, 8)
	for i, free := range []int{40, 3, 64, 1, 17, 0, 63, 32} {
		c.FreeBulk(slices.Clone(slabs[i][:free]))
	}
	if left := c.Shrink(); left != 7 {
		t.Errorf("%d slabs are left, want 7 with objects in use", left)
	}
	got := listed(c, slabs)
	if len(got) != 6 || !slices.Equal(got[:3], []int{3, 1, 4}) {
		t.Errorf("the list is %v, want 3, 1, 4 first: with 1, 3 and 17 free objects", got)
	}
	// From 32 on free objects aren't told apart.
	rest := slices.Sorted(slices.Values(got[3:]))
	if !slices.Equal(rest, []int{0, 6, 7}) {
		t.Errorf("the list ends with %v, want 0, 6, 7 in any order", rest)
	}
	counted(t, c, "after Shrink")
	for i, out := range []int{40, 3, 64, 1, 17, 0, 63, 32} {
		c.FreeBulk(slices.Clone(slabs[i][out:]))
	}
	if left := c.Shrink(); left != 0 {
		t.Errorf("%d slabs are left", left)
	}
}

// Objects that wait for a grace period stay where they are when a cache is shrunk.
func TestShrinkLeavesWaiting(t *testing.T) {
	m := openMortal(t, nil, Config{})
	r := m.domain.Register("reader")
	ps := take(t, m.Cache, 200)
	freeRCU(m.Cache, ps)
	if left := m.Shrink(); left == 0 || m.died.Load() != 0 || m.Stats().RCUObjects != 200 {
		t.Errorf("%d slabs left, %d destructors run, %d objects wait", left, m.died.Load(), m.Stats().RCUObjects)
	}
	_ = r.Close()
}

// Order, objects per slab, empty slabs kept and sheaf capacity are what a 7.1 kernel on
// a machine of four to seven CPUs shows for its kmalloc caches.
func TestFiguresOfTheKernel(t *testing.T) {
	for _, k := range []struct {
		size                                 uintptr
		capacity, objects, minPartial, order int
	}{{128, 60, 32, 5, 0}, {256, 28, 16, 5, 0}, {1024, 12, 16, 5, 2}, {4096, 4, 8, 6, 3}} {
		for cpus := 4; cpus < 8; cpus++ {
			order := Slabs{}.order(k.size, cpus)
			l := &layer{size: k.size}
			got := []int{sheaves.Capacity(k.size, 1), int(mem.PageSize << order / k.size), l.minPartial(0), order}
			if want := []int{k.capacity, k.objects, k.minPartial, k.order}; !slices.Equal(got, want) {
				t.Errorf("size %d, %d CPUs: capacity, objects, min_partial, order are %v, want %v", k.size, cpus, got, want)
			}
		}
	}
	// ilog2(size)/2, at least 5, at most 10.
	for size, want := range map[uintptr]int{8: 5, 2048: 5, 4095: 5, 4096: 6, 8200: 6, 16383: 6, 16384: 7, 1 << 20: 10, 4 << 20: 10} {
		if got := (&layer{size: size}).minPartial(0); got != want {
			t.Errorf("size %d: %d empty slabs are kept, want %d", size, got, want)
		}
	}
}

// A node that has nothing left takes from the nearest that has plenty, then from the
// next; not from one that has no more than it keeps for itself.
func TestRefillByDistance(t *testing.T) {
	cpus := make([]int, numa.System().NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	topology, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: cpus, Memory: 1 << 30, Distance: []int{10, 40, 20, 30}},
		testutil.SysNode{ID: 1, Memory: 1 << 30, Distance: []int{40, 10, 30, 20}},
		testutil.SysNode{ID: 2, Memory: 1 << 30, Distance: []int{20, 30, 10, 40}},
		testutil.SysNode{ID: 3, Memory: 1 << 30, Distance: []int{30, 20, 40, 10}}))
	if err != nil {
		t.Fatal(err)
	}
	a := newArena(t, arena.Config{Topology: topology})
	c := open(t, a, Config{Size: 1024, Flags: NoSheaves, MinPartial: 5})
	var keep []unsafe.Pointer
	for node, slabs := range []int{0, 8, 8, 5} { // as many as it keeps: node 3 gives none
		if node == 0 {
			continue
		}
		ps := make([]unsafe.Pointer, slabs*c.perSlab)
		for i := range ps {
			if ps[i], err = c.AllocNode(numa.Node(node)); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range ps {
			if i%c.perSlab == 0 {
				c.Free(p) // one free object in each slab
			} else {
				keep = append(keep, p)
			}
		}
	}
	var from []string
	for range 8 {
		p := take(t, c, 1)[0]
		from = append(from, fmt.Sprint(a.NodeOf(uintptr(p))))
		keep = append(keep, p)
	}
	// Three of each are more than the nodes keep; then there is a new slab at home.
	if want := []string{"2", "2", "2", "1", "1", "1", "0", "0"}; !slices.Equal(from, want) {
		t.Errorf("objects come from nodes %v, want %v", from, want)
	}
	c.FreeBulk(keep)
}
