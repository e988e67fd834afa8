package slab

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
)

// A node holds one NUMA node's partial slabs: those with free objects (kernel: struct
// kmem_cache_node). Slabs without free objects are on no list. They are found again when one of
// their objects is freed.
//
// All that changes lies in the nodeWords, in memory of the node. The node itself is in Go's heap,
// and constant. The words are used again when nothing refers to the Slabs' nodes any more (see
// package nodemem). So what writes to them keeps the node or the Slabs alive until it has done so.
type node struct {
	*nodeWords
	reclaim func() // the callback of retire.go
}

// nodeWords are what changes of a node.
//
//	partial = number of slabs linked from head to tail; each is listed
type nodeWords struct {
	mu         lock.Mutex // kernel: list_lock
	head, tail uint32     // links to the first and last partial slab; 0 for none
	partial    atomic.Int64
	slabs      atomic.Int64 // slabs of the node, full ones included
	objects    atomic.Int64 // room for objects in them
	empty      atomic.Int64 // listed slabs without an object that is out; see FreeEmpty
	remote     atomic.Int64 // see NodeStats.Remote

	// Of TypesafeByRCU slabs; see retire.go.
	shared, alone retiredSlabs // by slab.alone; under mu
	queued        bool         // a callback is queued or about to be; under mu
	retired       atomic.Int64 // retired slabs, those that are being given back included

	_ [nodemem.Align - 96]byte // keeps the next node's words on other lines, in Go's heap
}

// retiredSlabs are the two lists of retired slabs, by links to the first of each; see retire.go.
type retiredSlabs struct{ fresh, aging uint32 }

// Nodes lie side by side in a node's memory, each on lines of its own.
const _ = -(unsafe.Sizeof(nodeWords{}) % nodemem.Align)

// unlock unlocks mu.
func (n *node) unlock() {
	n.mu.Unlock()
	runtime.KeepAlive(n)
}

// countRemote notes that objects of the node were taken for another one.
func (n *node) countRemote(objects int) {
	n.remote.Add(int64(objects))
	runtime.KeepAlive(n)
}

// link returns what a list refers to the slab by: its page number plus one, so that 0 is none.
func (r Ref) link() uint32 { return r.page + 1 }

// linked returns the slab that a link refers to.
func (s *Slabs) linked(link uint32) Ref { return s.slabAt(link - 1) }

// add lists r: at the head to be used up soon, at the tail to gather free objects first. The
// caller holds mu.
func (n *node) add(s *Slabs, r Ref, tail bool) {
	n.insert(s, r, tail)
	n.partial.Add(1)
}

// insert is add without the count of partial slabs.
func (n *node) insert(s *Slabs, r Ref, tail bool) {
	if invariants.Enabled {
		invariants.Reach(invariants.NodeHeld)
		invariants.Check(!r.listed, "slab at %#x listed twice", r.addr)
	}
	link := r.link()
	r.listed, r.next, r.prev = true, 0, 0
	switch {
	case n.head == 0:
		n.head, n.tail = link, link
	case tail:
		r.prev = n.tail
		s.linked(n.tail).next = link
		n.tail = link
	default:
		r.next = n.head
		s.linked(n.head).prev = link
		n.head = link
	}
	if r.load().inuse == 0 {
		n.empty.Add(1)
	}
}

// remove takes r off the list. The caller holds mu.
func (n *node) remove(s *Slabs, r Ref) {
	if invariants.Enabled {
		invariants.Reach(invariants.NodeHeld)
		invariants.Check(r.listed, "slab at %#x is not listed", r.addr)
	}
	if r.prev == 0 {
		n.head = r.next
	} else {
		s.linked(r.prev).next = r.next
	}
	if r.next == 0 {
		n.tail = r.prev
	} else {
		s.linked(r.next).prev = r.prev
	}
	r.listed, r.next, r.prev = false, 0, 0
	n.partial.Add(-1)
	if r.load().inuse == 0 {
		n.empty.Add(-1)
	}
}

// cut takes slabs off the head of the list, as many as private has room for, until they have want
// free objects. It returns their number, and how many free objects they have at least, as frees go
// on meanwhile. The caller holds mu. (Kernel: get_partial_node_bulk, and 0fc52deec106.)
func (n *node) cut(s *Slabs, private []Ref, want int) (slabs, objects int) {
	link, empty := n.head, int64(0)
	for link != 0 && slabs < len(private) && objects < want {
		r := s.linked(link)
		if invariants.Enabled {
			invariants.Reach(invariants.NodeHeld)
			invariants.Check(r.listed, "slab at %#x is not listed", r.addr)
		}
		link = r.next
		r.listed, r.next, r.prev = false, 0, 0
		st := r.load()
		if st.inuse == 0 {
			empty++
		}
		objects += int(r.objects - st.inuse)
		private[slabs] = r
		slabs++
	}
	if slabs == 0 {
		return 0, 0
	}
	if n.head = link; link == 0 {
		n.tail = 0
	} else {
		s.linked(link).prev = 0
	}
	n.partial.Add(-int64(slabs))
	if empty > 0 {
		n.empty.Add(-empty)
	}
	return slabs, objects
}

// maxDetached is how many slabs are taken off a list in one hold of its lock, at most: enough for
// a sheaf of 60 from slabs with two free objects each.
const maxDetached = 32

// takePartial stores objects of the node's partial slabs in dst, and returns how many. Slabs are
// taken off the list in one hold of the lock, and their objects taken without it (kernel:
// get_partial_node_bulk). When the list is empty, retired slabs come back to it. takePartial stops
// at the first finding.
func (s *Slabs) takePartial(node int, dst []unsafe.Pointer) (got int, found finding) {
	n := &s.nodes[node]
	for got < len(dst) && !found.any() && (n.partial.Load() > 0 || n.retired.Load() > 0) {
		var k int
		n.mu.Lock()
		k, found = s.takeFromPartial(n, dst[got:])
		if k == 0 {
			break
		}
		got += k
	}
	return got, found
}

// takeFromPartial is one round of takePartial. The caller holds n.mu; takeFromPartial unlocks it.
func (s *Slabs) takeFromPartial(n *node, dst []unsafe.Pointer) (got int, found finding) {
	var private [maxDetached]Ref
	slabs, expected := 0, 0
	for slabs < maxDetached && expected < len(dst) {
		k, objects := n.cut(s, private[slabs:], len(dst)-expected)
		if k == 0 && !s.unretire(n) {
			break
		}
		slabs, expected = slabs+k, expected+objects
	}
	n.unlock()
	if slabs > 1 {
		s.readChains(private[:slabs], len(dst))
	}
	for i, r := range private[:slabs] {
		if got == len(dst) || found.any() {
			if s.relist(n, private[i:slabs]) {
				found.damaged = true
			}
			break
		}
		var k int
		k, found = s.takeFree(r, dst[got:])
		got += k
	}
	return got, found
}

// takeFree takes a private slab's whole chain and its untouched objects by one compare-and-swap,
// stores what fits in dst, the chain first, returns the rest to the slab, and returns how many
// objects it stored.
func (s *Slabs) takeFree(r Ref, dst []unsafe.Pointer) (got int, found finding) {
	st := r.load()
	for !r.state.CompareAndSwap(st.pack(), slabState{inuse: r.objects}.pack()) {
		s.count(s.counters.CmpxchgDoubleFail)
		st = r.load()
	}
	s.countFree(r.node, -int(r.objects-st.inuse))
	obj, within := r.first(st), s.reachOf(r, st)
	for obj != 0 && got < len(dst) {
		if obj-r.addr >= within.end || !within.exact && s.isOutside(within, r, st, obj) {
			return 0, s.isolateTaken(r, st)
		}
		next, ok := s.nextInSlab(obj, r)
		if !ok {
			// The chain leads out of the slab. What is left of it is lost, but the objects
			// found so far are sound.
			found = finding{obj: obj}
			next = 0
		}
		dst[got] = mem.Ptr(obj)
		got++
		obj = next
	}
	left := r.chained(st) - got
	switch {
	case found.obj != 0:
		left = 0
	case obj == 0 && left > 0, obj != 0 && left <= 0:
		return 0, s.isolateTaken(r, st)
	}
	fresh := s.takeUntouched(r, st, dst[got:])
	got += fresh
	if untouched := st.untouched - uint32(fresh); left > 0 || untouched > 0 {
		if also := s.returnRest(r, obj, left, untouched); !found.any() {
			found = also
		}
	}
	return got, found
}

// returnRest puts back on the slab what a refill has taken from it and doesn't need: the rest of
// the chain, n objects from obj on, and the untouched objects. If nothing was freed into the slab
// since, one exchange does it. Otherwise the untouched objects are linked, the chain is walked to
// its end, and it is freed like any other.
//
// The slab comes to the head of the list, as the rest of a new one does: the next refill goes on
// with it, on the same pages, while other slabs gather free objects. With 512 objects in a slab
// that takes 35 to 45 % off a refill (docs/costs.md). The kernel puts it at the tail.
func (s *Slabs) returnRest(r Ref, obj uintptr, n int, untouched uint32) finding {
	node := r.node
	nd := &s.nodes[node]
	back := n + int(untouched)
	st := r.load()
	if !st.hasFree() {
		// The lock is held across the exchange. Otherwise a free could see the free objects
		// before the slab is listed, and the slab would be listed twice or not at all (kernel:
		// 4a724bcf5d70).
		nd.mu.Lock()
		if r.isolated { // by another refill, which has seen it listed meanwhile
			nd.unlock()
			return finding{}
		}
		after := slabState{free: r.starting(obj), untouched: untouched, inuse: st.inuse - uint32(back)}
		if r.state.CompareAndSwap(st.pack(), after.pack()) {
			nd.add(s, r, false)
			nd.unlock()
			s.countFree(r.node, back)
			return finding{}
		}
		nd.unlock()
		s.count(s.counters.CmpxchgDoubleFail)
	}
	var found finding
	tail := obj
	for range n - 1 {
		next, ok := s.nextInSlab(tail, r)
		if !ok || next == 0 {
			// The rest of the chain is lost, as in takeFree.
			found = finding{obj: tail}
			obj, back = 0, int(untouched)
			break
		}
		tail = next
	}
	head := obj
	if untouched > 0 {
		var last uintptr
		if head, last = s.linkUntouched(r, untouched, obj); obj == 0 {
			tail = last
		}
	}
	if back > 0 {
		also, freed := s.addFree(r, head, tail, back)
		s.countFree(node, freed)
		if !found.any() {
			found = also
		}
	}
	return found
}

// relist puts private slabs that were not needed back on the list. Those that have become empty
// meanwhile go to the arena if the list has minPartial slabs. damaged says that one is isolated,
// which the caller reports.
func (s *Slabs) relist(n *node, slabs []Ref) (damaged bool) {
	var empty [maxDetached]Ref
	k := 0
	n.mu.Lock()
	for _, r := range slabs {
		if r.isolated { // by another refill, as in returnRest
			continue
		}
		if r.load().inuse == 0 && n.partial.Load() >= s.minPartial.Load() {
			empty[k] = r
			k++
			continue
		}
		n.add(s, r, true)
	}
	n.unlock()
	for _, r := range empty[:k] {
		if _, clean := s.discard(r); !clean {
			damaged = true
		}
	}
	return damaged
}
