package slab

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
)

// listed reads node 0's partial list from the head, as indices into slabs; -1 for a slab that is
// not among them.
func (r *rig) listed(slabs [][]unsafe.Pointer) (list []int) {
	n := &r.nodes[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	for link := n.head; link != 0; {
		ref := r.linked(link)
		list = append(list, slices.IndexFunc(slabs, func(ps []unsafe.Pointer) bool {
			return r.slabOf(uintptr(ps[0])).page == ref.page
		}))
		link = ref.next
	}
	return list
}

func (r *rig) expectListed(slabs [][]unsafe.Pointer, when string, want ...int) {
	r.t.Helper()
	if got := r.listed(slabs); !slices.Equal(got, want) {
		r.t.Errorf("%s the list is %v, want %v", when, got, want)
	}
}

// Slabs at the tail of a node's list gather free objects before they are used again, slabs at the
// head are used up first (kernel: __slab_free, get_partial_node).
func TestPartialListOrder(t *testing.T) {
	r := open(t, 256, Config{MinPartial: 1})
	slabs := r.fullSlabs(4)
	r.expectListed(slabs, "of full slabs")
	for _, i := range []int{1, 2, 0} {
		r.free(slabs[i][0])
	}
	r.expectListed(slabs, "after first frees", 1, 2, 0)
	r.free(slabs[1][1], slabs[2][1])
	r.expectListed(slabs, "after second frees", 1, 2, 0)
	slabs[1][1] = r.take(1)[0]
	r.expectListed(slabs, "when the rest of a chain was returned", 1, 2, 0)
	slabs[1][0] = r.take(1)[0]
	r.expectListed(slabs, "when a slab was used up", 2, 0)

	// The rest of a new slab goes to the head.
	var one [1]unsafe.Pointer
	var n int
	if _, err := r.takeNew(0, one[:], &n); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.expectListed(slabs, "after a new slab", -1, 2, 0)
	r.free(one[0])
	r.expectListed(slabs, "when that is empty, and too many", 2, 0)

	// Slabs that a refill took off and did not need go to the tail, or to the arena.
	r.free(slabs[3][0])
	private := []Ref{r.detach(slabs[2][0]), r.detach(slabs[0][0])}
	r.free(slabs[0][2:]...) // only the refill knows it, and slabs[0][0], [0][1] are free or out
	r.free(slabs[0][1])
	before := r.NodeStats(0).Slabs
	r.relist(&r.nodes[0], private)
	r.expectListed(slabs, "after unneeded slabs came back", 3, 2)
	if now := r.NodeStats(0).Slabs; now != before-1 {
		t.Errorf("%d slabs of %d: the empty one was not wanted", now, before)
	}
	r.counted("in the end")
	r.free(slabs[1]...)
	r.free(slabs[2][2:]...)
	r.free(slabs[3][1:]...)
}

// Shrink gives back empty slabs and lets the fullest be used up first, so that others become empty
// (kernel: __kmem_cache_do_shrink). It returns how many slabs there are, full ones included.
func TestShrinkSorts(t *testing.T) {
	r := open(t, 64, Config{MinPartial: 20})
	slabs := r.fullSlabs(8)
	freed := []int{40, 3, 64, 1, 17, 0, 63, 32}
	for i, free := range freed {
		r.FreeBulk(slices.Clone(slabs[i][:free]))
	}
	if left := r.Shrink(); left != 7 {
		t.Errorf("%d slabs are left, want 7 with objects in use", left)
	}
	got := r.listed(slabs)
	if len(got) != 6 || !slices.Equal(got[:3], []int{3, 1, 4}) {
		t.Errorf("the list is %v, want 3, 1, 4 first: with 1, 3 and 17 free objects", got)
	}
	// From 32 free objects on slabs are not sorted.
	rest := slices.Sorted(slices.Values(got[3:]))
	if !slices.Equal(rest, []int{0, 6, 7}) {
		t.Errorf("the list ends with %v, want 0, 6, 7 in any order", rest)
	}
	r.counted("after Shrink")
	for i, out := range freed {
		r.FreeBulk(slices.Clone(slabs[i][out:]))
	}
	if left := r.Shrink(); left != 0 {
		t.Errorf("%d slabs are left", left)
	}
}

// The automatic MinPartial is ilog2(size)/2, at least 5, at most 10, as a 7.1 kernel shows for its
// kmalloc caches. arena.None keeps no empty slab.
func TestMinPartialDefault(t *testing.T) {
	for size, want := range map[uintptr]int{8: 5, 128: 5, 256: 5, 1024: 5, 2048: 5, 4095: 5, 4096: 6, 8200: 6,
		16383: 6, 16384: 7, 1 << 20: 10, 4 << 20: 10} {
		if got := defaultMinPartial(size); got != want {
			t.Errorf("size %d: %d partial slabs, want %d", size, got, want)
		}
	}
	r := open(t, 1024, Config{MinPartial: arena.None})
	r.free(r.take(80)...)
	if n := r.NodeStats(0).Slabs; n != 0 {
		t.Errorf("None keeps %d slabs", n)
	}
}

// A node that reaches out takes from the nearest that has plenty, then from the next; not from one
// that has no more slabs than it keeps for itself.
func TestTakeByDistance(t *testing.T) {
	a := newArena(t, arena.Config{Topology: topology(t,
		testutil.SysNode{ID: 0, Memory: 1 << 30, Distance: []int{10, 40, 20, 30}},
		testutil.SysNode{ID: 1, Memory: 1 << 30, Distance: []int{40, 10, 30, 20}},
		testutil.SysNode{ID: 2, Memory: 1 << 30, Distance: []int{20, 30, 10, 40}},
		testutil.SysNode{ID: 3, Memory: 1 << 30, Distance: []int{30, 20, 40, 10}})})
	r := open(t, 1024, Config{Arena: a, MinPartial: 5, RemoteDefragRatio: 100})
	var keep []unsafe.Pointer
	for node, slabs := range []int{0, 8, 8, 5} { // as many as it keeps: node 3 gives none
		for i, p := range r.takeFrom(node, slabs*r.perSlab, true) {
			if i%r.perSlab == 0 {
				r.free(p) // one free object in each slab
			} else {
				keep = append(keep, p)
			}
		}
	}
	var from []string
	for range 8 {
		p := r.take(1)[0]
		from = append(from, fmt.Sprint(a.NodeOf(uintptr(p))))
		keep = append(keep, p)
	}
	// Three of each are more than the nodes keep; then there is a new slab on the own node.
	if want := []string{"2", "2", "2", "1", "1", "1", "0", "0"}; !slices.Equal(from, want) {
		t.Errorf("objects come from nodes %v, want %v", from, want)
	}
	r.FreeBulk(keep)
}

// A refill gave back the rest of a slab's chain without the node's lock. A free that saw the
// chain, and the slab not listed, left it unlisted, or both listed it. The lock is held across
// the exchange now. The test first goes through the orders of the two by hand, then runs many.
func TestReturnRestRacesFree(t *testing.T) {
	r := open(t, 64, Config{MinPartial: 1})
	// private takes a slab off the list as a refill does, with all but two objects free.
	private := func() (ref Ref, ps []unsafe.Pointer) {
		ps = r.take(r.perSlab)
		r.free(ps[2:]...)
		return r.detach(ps[0]), ps
	}
	// emptied takes the slab's free objects, as takeFree does first.
	emptied := func(ref Ref) slabState {
		st := ref.load()
		if !ref.state.CompareAndSwap(st.pack(), slabState{inuse: ref.objects}.pack()) {
			t.Fatal("the slab changes by itself")
		}
		r.Slabs.free.add(ref.node, -int(ref.objects-st.inuse))
		return st
	}
	giveBack := func(ref Ref, st slabState) { r.returnRest(ref, ref.first(st), ref.chained(st), st.untouched) }

	ref, ps := private()
	r.free(ps[:2]...) // the slab is empty now, but private to the refill
	if ref.listed || r.NodeStats(0).Slabs != 1 {
		t.Error("a free has listed or given back a slab that a refill has taken")
	}
	got := make([]unsafe.Pointer, 5)
	if n, _ := r.takeFree(ref, got); n != len(got) {
		t.Errorf("%d objects of 5", n)
	}
	r.free(got...)
	r.counted("frees before the refill takes the chain")

	ref, ps = private()
	st := emptied(ref)
	r.free(ps[0]) // lists it
	giveBack(ref, st)
	r.free(ps[1])
	r.counted("a free before the refill returns the rest")

	// Where a free has come first the untouched objects get links.
	r.Shrink()
	for range 2 {
		ps = r.take(3)
		ref = r.detach(ps[0])
		if st = emptied(ref); st.untouched != uint32(r.perSlab-3) {
			t.Errorf("%+v: not all of a new slab is untouched", st)
		}
		r.free(ps[0])
		giveBack(ref, st)
		if st = ref.load(); st.untouched != 0 || ref.chained(st) != r.perSlab-2 {
			t.Errorf("then it has %+v", st)
		}
		r.free(ps[1:]...)
		r.counted("a free before the refill returns untouched objects")
		r.Shrink()
	}

	ref, ps = private()
	st = emptied(ref)
	n, returned := &r.nodes[0], make(chan bool)
	n.mu.Lock()
	go func() { giveBack(ref, st); close(returned) }()
	time.Sleep(5 * time.Millisecond)
	if ref.load().free != 0 {
		t.Error("the chain is back without the lock: a free that empties the slab now won't find it listed")
	}
	n.mu.Unlock()
	<-returned
	r.free(ps[:2]...)
	r.counted("the rest returned while the lock was held")
	r.Shrink()

	var users sync.WaitGroup
	ring := make(chan unsafe.Pointer, 3*r.perSlab)
	for range 4 {
		users.Go(func() {
			for range testutil.Stress(t, 200_000) / 4 {
				var one [1]unsafe.Pointer // each Take leaves a rest of a chain
				if _, err := r.Take(0, one[:], false); err != nil {
					t.Error(err)
					return
				}
				select {
				case ring <- one[0]:
				case p := <-ring:
					r.free(p, one[0])
				}
			}
		})
	}
	users.Wait()
	r.counted("after the stress")
	close(ring)
	for p := range ring {
		r.free(p)
	}
	r.counted("in the end")
	if left := r.Shrink(); left != 0 {
		t.Errorf("%d slabs are left: %+v", left, r.NodeStats(0))
	}
}

// All CPUs whose own node had nothing left waited for the list lock of the same other node. It is
// only tried now: a refill that doesn't get it makes a new slab on its own node.
func TestTakeTriesOtherNodesLocks(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	r := open(t, 1024, Config{Arena: a, Order: 2, RemoteDefragRatio: 100})
	far := r.takeFrom(1, 20*r.perSlab, true)
	keep := far[:0]
	for i, p := range far {
		if i%2 == 0 {
			r.free(p)
		} else {
			keep = append(keep, p)
		}
	}
	if n := r.NodeStats(1).Partial; n <= r.minPartial.Load() {
		t.Fatalf("%d partial slabs are too few to be taken from", n)
	}
	n := &r.nodes[1]
	n.mu.Lock()
	ps := r.take(r.perSlab) // hangs if it waits for the lock
	n.mu.Unlock()
	for _, p := range ps {
		if node := a.NodeOf(uintptr(p)); node != 0 {
			t.Errorf("%p comes from node %d, whose lock is held", p, node)
		}
	}
	ps = append(ps, r.take(1)...)
	if node := a.NodeOf(uintptr(ps[len(ps)-1])); node != 1 {
		t.Errorf("with the lock free, an object of node %d was taken; node 1 has plenty", node)
	}
	r.FreeBulk(append(ps, keep...))
}

// Behind a lock that another goroutine holds TakeNoWait takes nothing, at once, and makes no slab.
func TestTakeNoWaitTriesLock(t *testing.T) {
	r := open(t, 64, Config{})
	r.free(r.take(3)...)
	r.nodes[0].mu.Lock()
	p := r.TakeNoWait(0)
	r.nodes[0].mu.Unlock()
	if p != nil {
		t.Errorf("%p was taken under the node's lock", p)
	}
	var ps []unsafe.Pointer
	for p := r.TakeNoWait(0); p != nil; p = r.TakeNoWait(0) {
		ps = append(ps, p)
	}
	if n := r.NodeStats(0); len(ps) != r.perSlab || n.Slabs != 1 {
		t.Errorf("%d objects of one slab's %d, %d slabs", len(ps), r.perSlab, n.Slabs)
	}
	r.free(ps...)
}
