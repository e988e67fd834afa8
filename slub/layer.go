package slub

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// layer is the lower floor of a cache: its slabs. It hands out and takes back
// objects by address, knows nothing of sheaves, RCU or hooks, and is called with no
// lock of the upper floor held.
type layer struct {
	arena    *arena.Arena
	base     uintptr // the arena's
	topology *numa.Topology
	nodes    []node          // by node index
	near     [][]int         // for each node the others by distance
	counters percpu.Counters // of Event

	size    uintptr       // bytes from one object to the next
	fp      uintptr       // offset of the free pointer in an object
	order   int           // preferred order of a slab
	secret  uint64        // what free pointers are combined with
	id      uint32        // the cache's, for the owner of its pages
	keep    atomic.Int64  // empty slabs that a node keeps (kernel: min_partial)
	shuffle []uint32      // a random order of a slab's objects, or nil
	newSlab func(slabRef) // runs constructors; before any object is out
	zeroed  bool          // new slabs are zeroed: the cache counts on free objects being so
	corrupt func(obj uintptr, s slabRef)
	twice   func(obj uintptr, s slabRef)
	// deferPages calls f when no reader can look at what was freed before, so that pages go
	// back then; nil where they may go at once.
	deferPages    func(f func())
	deferredSlabs atomic.Int64 // slabs whose pages wait for it

	// fallbacks counts slabs of less than the preferred order, whose head is not
	// found by masking. It only grows.
	fallbacks atomic.Int64
}

func newLayer(a *arena.Arena, size, fp uintptr, order int, id uint32) (*layer, error) {
	l := &layer{arena: a, base: a.Base(), topology: a.Topology(), size: size, fp: fp,
		order: order, id: id, secret: rand.Uint64()}
	var err error
	if l.counters, err = percpu.NewCounters(int(numCounters)); err != nil {
		return nil, err
	}
	all := l.topology.Nodes()
	l.nodes, l.near = make([]node, len(all)), make([][]int, len(all))
	for i, from := range all {
		for _, to := range l.topology.Fallback(from) {
			if j := l.topology.Index(to); j != i {
				l.near[i] = append(l.near[i], j)
			}
		}
	}
	return l, nil
}

// minPartial is how many empty slabs a node keeps: n, or for 0 half of log2(size), rounded
// down twice, between 5 and 10.
func (l *layer) minPartial(n int) int {
	if n == 0 {
		n = min(10, max(5, (bits.Len64(uint64(l.size))-1)/2))
	}
	return n
}

func (l *layer) count(e Event, n int) { l.counters.Add(int(e), uint64(n)) }

// grow makes a new slab on the node with the given index. All of its objects are
// out: the caller hands out what it wants and gives the rest to adopt.
func (l *layer) grow(at int) (slabRef, error) {
	order := l.order
	run, err := l.arena.Alloc(order, l.topology.Nodes()[at])
	least := mem.Order(l.size)
	if err != nil && order > least {
		// Fragmented or near the limit: the smallest order that holds an object
		// (kernel: allocate_slab).
		if run, err = l.arena.Alloc(least, l.topology.Nodes()[at]); err == nil {
			order = least
			l.count(OrderFallback, 1)
		}
	}
	if err != nil {
		return slabRef{}, err
	}
	s := l.slabAt(run.Page)
	s.order, s.node = uint8(order), uint8(at)
	s.objects = uint32(s.bytes() / l.size)
	s.state.Store(slabState{inuse: s.objects}.pack())
	o := ownerOf(l.id, at)
	if order != l.order {
		l.fallbacks.Add(1)
		o |= careful
	}
	l.arena.SetOwner(run.Page, order, uint32(o))
	n := &l.nodes[at]
	n.slabs.Add(1)
	n.objects.Add(int64(s.objects))
	l.count(AllocSlab, 1)
	if l.zeroed && !run.Zero {
		mem.Zero(s.addr, s.bytes())
	}
	if l.newSlab != nil {
		l.newSlab(s)
	}
	if sanitized {
		l.releaseSlab(s)
	}
	return s, nil
}

// owns reports whether a page of the arena belongs to one of the cache's slabs.
func (l *layer) owns(page uint32) bool { return owner(l.arena.Owner(page)).id() == l.id }

// object returns the address of the i-th object.
func (l *layer) object(s slabRef, i uint32) uintptr { return s.addr + uintptr(i)*l.size }

// discard gives a slab back whose objects are all free and which is on no list.
func (l *layer) discard(s slabRef) {
	n, objects := &l.nodes[s.node], int64(s.objects)
	if sanitized {
		l.acquireSlab(s)
	}
	// From here on the descriptor is not to be looked at any more.
	if page := s.page; l.deferPages == nil {
		l.arena.Free(page)
	} else {
		// Nobody's now, so that a pointer into it is refused by Free; but its pages
		// stay what they are.
		l.arena.SetOwner(page, int(s.order), uint32(nobody))
		l.deferredSlabs.Add(1)
		l.deferPages(func() {
			l.arena.Free(page)
			l.deferredSlabs.Add(-1)
		})
	}
	// Last, since Close takes a cache without slabs for one that nobody works on.
	n.objects.Add(-objects)
	n.slabs.Add(-1)
}

// take stores up to len(dst) objects in dst: from the node's partial slabs, from
// those of other nodes that have plenty, from new slabs of the node, from new slabs
// elsewhere (kernel: refill_objects). The error says why it is short.
func (l *layer) take(at int, dst []unsafe.Pointer, strict bool) (int, error) {
	others := l.near[at]
	if strict {
		others = nil
	}
	got := l.takePartial(at, dst)
	for _, i := range others {
		got += l.takePartialElsewhere(i, dst[got:])
	}
	n, err := l.takeNew(at, dst[got:])
	got += n
	for _, i := range others {
		if err == nil {
			break
		}
		n, err = l.takeNew(i, dst[got:])
		got += n
	}
	return got, err
}

// takeNew fills dst from new slabs of one node.
func (l *layer) takeNew(at int, dst []unsafe.Pointer) (int, error) {
	got := 0
	for got < len(dst) {
		s, err := l.grow(at)
		if err != nil {
			return got, err
		}
		got += l.cut(s, dst[got:])
	}
	return got, nil
}

// cut hands out objects of a new slab up to len(dst) and chains the others.
func (l *layer) cut(s slabRef, dst []unsafe.Pointer) int {
	n := uint32(min(uintptr(len(dst)), uintptr(s.objects)))
	order := l.permuted(s)
	for i := range n {
		dst[i] = mem.Ptr(l.place(s, order, i))
	}
	if n == s.objects {
		return int(n)
	}
	// The chain is built only now, over what is left: the objects handed out would
	// have had theirs written for nothing (kernel 7.2, 1f7c8e1d5242).
	next := uintptr(0)
	for i := s.objects; i > n; i-- {
		obj := l.place(s, order, i-1)
		l.setNext(obj, next)
		next = obj
	}
	nd := &l.nodes[s.node]
	nd.mu.Lock()
	// No free can come before the caller of take has the objects in dst, so the
	// state may simply be stored.
	s.state.Store(slabState{free: s.starting(next), inuse: n}.pack())
	nd.add(l, s, false)
	nd.mu.Unlock()
	return int(n)
}

// place returns the address of the i-th object that a new slab gives out, whose order is
// nil or permuted's.
func (l *layer) place(s slabRef, order []uint32, i uint32) uintptr {
	if order != nil {
		i = order[i]
	}
	return l.object(s, i)
}

// permuted returns the order in which a new slab gives out its objects: nil for that of
// their addresses, or else the cache's random one from a random start, without those that
// a slab of lower order doesn't have (kernel: shuffle_freelist).
func (l *layer) permuted(s slabRef) []uint32 {
	if len(l.shuffle) == 0 {
		return nil
	}
	order := make([]uint32, 0, s.objects)
	start := rand.IntN(len(l.shuffle))
	for i := range l.shuffle {
		if k := l.shuffle[(start+i)%len(l.shuffle)]; k < s.objects {
			order = append(order, k)
		}
	}
	return order
}
