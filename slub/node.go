package slub

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
)

// A node holds one NUMA node's partial slabs (kernel: struct kmem_cache_node).
// Slabs without free objects are on no list; they are found again when one of
// their objects is freed.
//
//	partial = number of slabs linked from head to tail; each listed
type node struct {
	mu         lock.Mutex // kernel: list_lock
	head, tail uint32     // links to the first and last partial slab; 0 for none
	partial    atomic.Int64
	slabs      atomic.Int64 // slabs in all
	objects    atomic.Int64 // objects in them
	_          [64]byte
}

// A list link is a slab's page number plus one, so that 0 is none.
func (s slabRef) link() uint32 { return s.page + 1 }

func (l *layer) linked(link uint32) slabRef { return l.slabAt(link - 1) }

// add lists s: at the head what should be emptied soon, at the tail what should be
// left alone a while. The caller holds mu.
func (n *node) add(l *layer, s slabRef, tail bool) {
	if invariants.Enabled {
		invariants.Reach(invariants.NodeHeld)
		invariants.Check(!s.listed, "slab at %#x listed twice", s.addr)
	}
	link := s.link()
	s.listed, s.next, s.prev = true, 0, 0
	switch {
	case n.head == 0:
		n.head, n.tail = link, link
	case tail:
		s.prev = n.tail
		l.linked(n.tail).next = link
		n.tail = link
	default:
		s.next = n.head
		l.linked(n.head).prev = link
		n.head = link
	}
	n.partial.Add(1)
}

// remove takes s off the list. The caller holds mu.
func (n *node) remove(l *layer, s slabRef) {
	if invariants.Enabled {
		invariants.Reach(invariants.NodeHeld)
		invariants.Check(s.listed, "slab at %#x is not listed", s.addr)
	}
	if s.prev == 0 {
		n.head = s.next
	} else {
		l.linked(s.prev).next = s.next
	}
	if s.next == 0 {
		n.tail = s.prev
	} else {
		l.linked(s.next).prev = s.prev
	}
	s.listed, s.next, s.prev = false, 0, 0
	n.partial.Add(-1)
}

// grabbed is how many slabs one hold of the list lock takes off at most: a sheaf of
// 60 from slabs with two free objects each.
const grabbed = 32

// takePartial stores objects of the node's partial slabs in dst. Slabs are taken
// off the list under one hold of the lock and emptied without it (kernel:
// get_partial_node_bulk).
func (l *layer) takePartial(at int, dst []unsafe.Pointer) int {
	n := &l.nodes[at]
	got := 0
	for got < len(dst) && n.partial.Load() > 0 {
		n.mu.Lock()
		k := l.emptyPartial(n, dst[got:])
		if k == 0 {
			break
		}
		got += k
	}
	return got
}

// takePartialElsewhere is takePartial for a node that is not the caller's: only if
// it has more than it would keep anyway, and only if its lock is free, for the
// many that come here under pressure would all wait for one (kernel 7.x, 40fd0acc45d0).
func (l *layer) takePartialElsewhere(at int, dst []unsafe.Pointer) int {
	n := &l.nodes[at]
	if n.partial.Load() <= l.keep.Load() || !n.mu.TryLock() {
		return 0
	}
	return l.emptyPartial(n, dst)
}

// emptyPartial is called with n.mu held and releases it.
func (l *layer) emptyPartial(n *node, dst []unsafe.Pointer) int {
	var private [grabbed]slabRef
	slabs, expected := 0, 0
	for slabs < grabbed && expected < len(dst) && n.head != 0 {
		s := l.linked(n.head)
		n.remove(l, s)
		private[slabs] = s
		slabs++
		// A lower bound, as frees go on meanwhile.
		expected += int(s.objects - s.load().inuse)
	}
	n.mu.Unlock()
	got := 0
	for i, s := range private[:slabs] {
		if got == len(dst) {
			l.relist(n, private[i:slabs])
			break
		}
		got += l.empty(s, dst[got:])
	}
	return got
}

// empty takes a private slab's whole chain, by one exchange, hands out what fits
// in dst and gives the rest back.
func (l *layer) empty(s slabRef, dst []unsafe.Pointer) int {
	st := s.load()
	for !s.state.CompareAndSwap(st.pack(), slabState{inuse: s.objects}.pack()) {
		l.count(CmpxchgDoubleFail, 1)
		st = s.load()
	}
	obj, got := s.first(st), 0
	for obj != 0 && got < len(dst) {
		next, ok := l.next(obj, s)
		if !ok {
			// The chain leads out of the slab: what is left of it is lost, the
			// objects found so far are sound.
			l.corrupt(obj, s)
			next = 0
		}
		dst[got] = mem.Ptr(obj)
		got++
		obj = next
	}
	if left := int(s.objects-st.inuse) - got; obj != 0 && left > 0 {
		l.giveBack(s, obj, left)
	}
	return got
}

// giveBack puts the leftover chain of n objects, starting at obj, back on a slab
// whose chain was just taken. If nobody has freed into it since, one exchange does
// it; else the chain is walked to its end, to be freed like any other.
func (l *layer) giveBack(s slabRef, obj uintptr, n int) {
	nd := &l.nodes[s.node]
	st := s.load()
	if st.free == 0 {
		// The lock is held across the exchange: otherwise a free that sees the
		// chain before the slab is listed would list nothing, or both would
		// (kernel: 4a724bcf5d70).
		nd.mu.Lock()
		after := slabState{free: s.starting(obj), inuse: st.inuse - uint32(n)}
		if s.state.CompareAndSwap(st.pack(), after.pack()) {
			nd.add(l, s, true)
			nd.mu.Unlock()
			return
		}
		nd.mu.Unlock()
		l.count(CmpxchgDoubleFail, 1)
	}
	tail := obj
	for range n - 1 {
		next, ok := l.next(tail, s)
		if !ok || next == 0 {
			l.corrupt(tail, s)
			return
		}
		tail = next
	}
	l.freeChain(s, obj, tail, n)
}

// relist puts private slabs back that were not needed. Those that have become empty
// meanwhile and are too many go to the arena.
func (l *layer) relist(n *node, slabs []slabRef) {
	var empty [grabbed]slabRef
	k := 0
	n.mu.Lock()
	for _, s := range slabs {
		if s.load().inuse == 0 && n.partial.Load() >= l.keep.Load() {
			empty[k] = s
			k++
			continue
		}
		n.add(l, s, true)
	}
	n.mu.Unlock()
	for _, s := range empty[:k] {
		l.discard(s)
	}
}
