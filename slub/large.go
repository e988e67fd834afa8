package slub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// What no class holds is a page run whose pages have the Buckets as owner, or,
// beyond the largest run, a mapping, which the arena finds by its address. Neither has
// sheaves or a descriptor: the arena's records are enough.

// largeObjects are what Buckets hold in pages.
type largeObjects struct {
	inUse atomic.Int64 // objects, those that wait for a grace period included
	bytes atomic.Int64 // of them

	mu   sync.Mutex
	mine map[uintptr]bool // addresses of mappings; the arena knows all users' ones
}

// A large is an object in pages.
type large struct {
	addr, bytes uintptr
	page        uint32 // head of the run
	mapped      bool   // a mapping instead
}

// maxRun is the largest page run in bytes.
const maxRun = mem.PageSize << arena.MaxOrder

// nothing returns the address of no bytes. Whoever touches it faults. (Kernel:
// ZERO_SIZE_PTR, which is 16 there; Go's collector takes that for a broken pointer.)
func nothing() (unsafe.Pointer, error) {
	if addr := noBytes.Load(); addr != 0 {
		return mem.Ptr(addr), nil
	}
	addr, err := sys.Guard(mem.PageSize)
	if err != nil {
		return nil, fmt.Errorf("%w: an address for no bytes: %w", ErrNoMemory, err)
	}
	if !noBytes.CompareAndSwap(0, addr) {
		_ = sys.Unmap(addr, mem.PageSize) // another was faster; where refused, a page of addresses is lost
	}
	return mem.Ptr(noBytes.Load()), nil
}

var noBytes atomic.Uintptr

func isNothing(p unsafe.Pointer) bool { return p == nil || uintptr(p) == noBytes.Load() }

// allocLarge takes pages of the calling CPU's node, or else of the others by distance.
func (b *Buckets) allocLarge(n uintptr, zero bool) (unsafe.Pointer, error) {
	if b.closed.Load() {
		return nil, ErrClosed
	}
	first := b.caches[0] // which knows the nodes as well as any
	local := first.localNode()
	l, zeroed, err := b.takePages(n, local)
	for _, node := range first.slabs.near[local] {
		if err == nil {
			break
		}
		l, zeroed, err = b.takePages(n, node)
	}
	if err != nil {
		return nil, fmt.Errorf("slub: buckets %q: %w", b.config.name(), err)
	}
	b.large.inUse.Add(1)
	b.large.bytes.Add(int64(l.bytes))
	// Again: Close looks at inUse after it has set closed, and so sees this object, or is
	// seen here.
	if b.closed.Load() {
		b.discardLarge(l)
		return nil, ErrClosed
	}
	if (zero || b.config.Flags&InitOnAlloc != 0) && !zeroed {
		mem.Zero(l.addr, l.bytes)
	}
	if h := b.config.Hooks.Alloc; h != nil {
		h(b.largeObject(l))
	}
	return mem.Ptr(l.addr), nil
}

// takePages takes a run or a mapping of the node with the given index.
func (b *Buckets) takePages(n uintptr, at int) (l large, zeroed bool, err error) {
	node := b.arena.Topology().Nodes()[at]
	if n > maxRun {
		l = large{bytes: mem.AlignUp(n, mem.PageSize), mapped: true}
		if l.addr, zeroed, err = b.arena.Map(l.bytes, node); err == nil {
			b.large.mu.Lock()
			b.large.mine[l.addr] = true
			b.large.mu.Unlock()
		}
		return l, zeroed, err
	}
	run, err := b.arena.Alloc(mem.Order(n), node)
	if err != nil {
		return large{}, false, err
	}
	b.arena.SetOwner(run.Page, int(run.Order), uint32(ownerOf(b.id, at)))
	return large{addr: b.arena.Addr(run.Page), bytes: mem.PageSize << run.Order, page: run.Page}, run.Zero, nil
}

// largeAt finds the large object that starts at p.
func (b *Buckets) largeAt(p unsafe.Pointer) (l large, ok bool) {
	addr := uintptr(p)
	if page, ok := b.pageOf(p); ok {
		head, order, used := b.arena.Head(page)
		l = large{addr: b.arena.Addr(head), bytes: mem.PageSize << order, page: head}
		return l, used && owner(b.arena.Owner(page)).id() == b.id && l.addr == addr
	}
	b.large.mu.Lock()
	ok = b.large.mine[addr]
	b.large.mu.Unlock()
	if !ok {
		return large{}, false
	}
	return large{addr: addr, bytes: b.arena.Mapping(addr), mapped: true}, ok
}

// freeLarge is Free for what no cache owns.
func (b *Buckets) freeLarge(p unsafe.Pointer) {
	if l, ok := b.findLarge(p); ok {
		b.releaseLarge(l)
	}
}

// freeLargeAfterGrace is FreeRCU, or FreeRCUNoWait, for what no cache owns. Page runs and mappings
// alike go to the queue: they are too few, and each too large, to gather in sheaves.
func (b *Buckets) freeLargeAfterGrace(p unsafe.Pointer, mayWait bool) {
	if l, ok := b.findLarge(p); ok {
		b.rcuQueue.add(p, 0, l.bytes, mayWait)
	}
}

// findLarge is largeAt with a report if there is none.
func (b *Buckets) findLarge(p unsafe.Pointer) (l large, ok bool) {
	if isNothing(p) {
		return large{}, false
	}
	if l, ok = b.largeAt(p); !ok {
		b.refuse(p)
	}
	return l, ok
}

// endLarge ends the life of objects whose grace period is over. One that is gone was given
// twice, or freed meanwhile, and is reported. As with source.destroy, a destructor that
// doesn't return loses nothing.
func (b *Buckets) endLarge(objs []unsafe.Pointer) {
	var dying large // its destructor has been called
	defer func() {
		if dying.bytes == 0 {
			return
		}
		for _, p := range objs {
			b.freeLargeAfterGrace(p, false)
		}
		b.releaseLarge(dying)
		b.rcuQueue.arm() // whoever was at it has not finished
	}()
	for len(objs) > 0 {
		l, ok := b.findLarge(objs[0])
		objs = objs[1:]
		if !ok {
			continue
		}
		if b.config.RCUDtor != nil {
			dying = l
			b.config.RCUDtor(mem.Ptr(l.addr))
			dying = large{}
		}
		b.releaseLarge(l)
	}
}

func (b *Buckets) releaseLarge(l large) {
	if h := b.config.Hooks.Free; h != nil && h(b.largeObject(l)) {
		return
	}
	if b.config.Flags&InitOnFree != 0 {
		mem.Zero(l.addr, l.bytes)
	}
	b.discardLarge(l)
}

// discardLarge gives the pages back. The record goes first: once the arena has them they
// may be anybody's.
func (b *Buckets) discardLarge(l large) {
	b.large.inUse.Add(-1)
	b.large.bytes.Add(-int64(l.bytes))
	if !l.mapped {
		b.arena.Free(l.page)
		return
	}
	b.large.mu.Lock()
	delete(b.large.mine, l.addr)
	b.large.mu.Unlock()
	b.arena.Unmap(l.addr)
}

func (b *Buckets) largeObject(l large) hooks.Object {
	return hooks.Object{Cache: b.config.name() + "-large", Addr: l.addr, Size: l.bytes, Node: int(b.arena.NodeOf(l.addr))}
}

// refuse reports a pointer that these buckets did not hand out.
func (b *Buckets) refuse(p unsafe.Pointer) {
	r := hooks.NewReport(hooks.ForeignPointer, b.config.name(), uintptr(p), "no object of these buckets starts there")
	_, inside := b.pageOf(p)
	switch o := b.ownerAt(p); {
	case !inside:
		r.Detail = "outside their memory, as a slice of Bytes is when append has outgrown its capacity"
	case o == 0:
	case o.id() == b.id:
		r.Kind, r.Detail = hooks.MisalignedPointer, "inside a page run"
	default:
		if other := caches.find(o); other != nil {
			r.Kind, r.Owner, r.Detail = hooks.WrongCache, other.name, ""
		}
	}
	sayClosed(r, "the buckets are", b.closed.Load())
	r.Fire(&b.config.Hooks)
}

// listLarge lists the large objects that are still in use.
func (b *Buckets) listLarge() *addressList {
	out := new(addressList)
	for head := range runsOf(b.arena, b.id) {
		out.add(b.arena.Addr(head))
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	for addr := range b.large.mine {
		out.add(addr)
	}
	return out
}
