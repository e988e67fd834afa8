package slub

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// An object that no cache serves is a page run whose pages are owned by the Buckets, or, above the
// largest run, a mapping, which the arena finds by its address. Neither has sheaves or a
// descriptor: the arena's records are enough.
//
// To free a large object, or to give it to FreeRCU, takes one atomic step that only one goroutine
// can make: it sets owner.Freed in the owner word of the run's head page, or clears inUse in the
// mapping's entry in largeObjects.mine. From then on the object belongs to that goroutine, or to
// the queue or list that it puts the object in, until its pages go back. Any other free finds the
// mark, and reports.

// largeObjects are the objects of Buckets that are made of pages.
type largeObjects struct {
	pageCount
	mappings pageCount // those among them that are mappings

	deferred deferLarge
	failures failures // of allocations, by reason

	mu   lock.Mutex // held for one look at mine or charged
	mine map[uintptr]mappingState

	charged    map[uintptr]uint64 // references of objects of Accounts, by address. Under mu
	numCharged atomic.Int64       // length of charged. Stored under mu

	// debug is nil but in debug Buckets. Then each object has beside more bytes of pages than the
	// user gets, lead of them in front of it; otherwise these are 0. Constant after NewBuckets.
	debug        *debugLarge
	lead, beside uintptr
}

// A mappingState says what a mapping, until its pages are back in the arena, is.
type mappingState struct {
	inUse bool    // not freed
	freed freedBy // the call that has freed it
	next  uintptr // address of the next one in deferLarge
}

// A pageCount counts large objects.
type pageCount struct {
	allocs atomic.Int64 // ever made
	inUse  atomic.Int64 // objects, including those that wait for a grace period
	bytes  atomic.Int64 // in these objects
}

func (n *pageCount) add(bytes uintptr) {
	n.allocs.Add(1)
	n.inUse.Add(1)
	n.bytes.Add(int64(bytes))
}

func (n *pageCount) remove(bytes uintptr) {
	n.inUse.Add(-1)
	n.bytes.Add(-int64(bytes))
}

// A large is an object made of pages.
type large struct {
	addr, bytes uintptr // of the object
	page        uint32  // head page of the run
	mapped      bool    // it is a mapping and not a run
	freeing     bool    // its user has called Free, which goes on
}

// base returns the address of the object's first page, and taken the bytes of all its pages.
func (b *Buckets) base(l large) uintptr { return l.addr - b.large.lead }
func (b *Buckets) taken(l large) int64  { return int64(l.bytes + b.large.beside) }

// maxRun is the number of bytes in the largest page run.
const maxRun = mem.PageSize << arena.MaxOrder

// runBytes is the number of bytes of the page run for n bytes: the next of eight steps between
// powers of two, in whole pages. So at most an eighth more is taken, and a freed run fits others
// of about its size.
func runBytes(n uintptr) uintptr {
	step := uintptr(1) << max(mem.PageShift, bits.Len(uint(n-1))-4)
	return mem.AlignUp(n, step)
}

// nothing returns the address of no bytes, in a page without access rights. (Kernel:
// ZERO_SIZE_PTR, which is 16; Go's collector would crash on such a pointer.)
func nothing() (unsafe.Pointer, error) {
	if addr := noBytes.Load(); addr != 0 {
		return mem.Ptr(addr), nil
	}
	addr, err := sys.Guard(mem.PageSize)
	if err != nil {
		return nil, fmt.Errorf("%w: an address for no bytes: %w", ErrNoMemory, err)
	}
	if !noBytes.CompareAndSwap(0, addr) {
		// Another goroutine was faster. If the kernel refuses, a page of addresses is lost.
		_ = sys.Unmap(addr, mem.PageSize)
	}
	return mem.Ptr(noBytes.Load()), nil
}

var noBytes atomic.Uintptr

func isNothing(p unsafe.Pointer) bool { return p == nil || uintptr(p) == noBytes.Load() }

// allocLarge takes pages of the given node alone, or with numa.NoNode of the calling CPU's node, or
// else of the others by distance. Of the n bytes it zeroes those from the given one on, except for
// what the kernel has just zeroed. Before it fails for lack of memory it has caches give back what
// they keep.
func (b *Buckets) allocLarge(n, from uintptr, node numa.Node) (unsafe.Pointer, error) {
	b.drainLarge(portionFor(n))
	asked := n
	if s := b.sampler; s != nil && s.injected(s.labels.Cache, int64(n)) {
		b.large.failures.count(ErrNoMemory)
		return nil, fmt.Errorf("slub: buckets %q: %w: %w", b.config.name(), ErrNoMemory, errInjected)
	}
	b.delay()
	l, dirty, err := b.tryLarge(n, node)
	if err != nil {
		l, dirty, err = b.largeRelieved(err, n, node)
	}
	if err != nil {
		b.large.failures.count(err)
		if errors.Is(err, ErrClosed) {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("slub: buckets %q: %w%s", b.config.name(), err, b.backlog.blame(b.arena, b.config.Domain))
	}
	if b.config.Flags&InitOnAlloc != 0 {
		from, n = 0, l.bytes
	}
	if end := min(n, dirty); from < end {
		mem.Zero(l.addr+from, end-from)
	}
	b.beginLarge(l)
	b.sampleLarge(l)
	b.noteLargeSite(l)
	if h := b.hooking.now.Load(); h.Alloc != nil {
		b.showLarge(h, l)
	}
	limitObject(mem.Ptr(l.addr), asked, l.bytes)
	b.limitLarge(l, asked)
	return mem.Ptr(l.addr), nil
}

// largeRelieved is tryLarge after an attempt that has failed with err. It is a function of its own
// because what the function literal refers to is on the heap.
//
// What FreeDeferred was given comes first, a portion at a time: a round would free all of it, and
// others would wait for the round in vain.
func (b *Buckets) largeRelieved(err error, n uintptr, node numa.Node) (l large, dirty uintptr, _ error) {
	for range b.large.deferred.pending.Load() {
		if !shortOfMemory(err) || !b.drainLargePortion(n) {
			break
		}
		if l, dirty, err = b.tryLarge(n, node); err == nil {
			return l, dirty, nil
		}
	}
	err = relieve(err, b.config.Group, b.arena, int64(n), b.giveBack, func() error {
		var failed error
		l, dirty, failed = b.tryLarge(n, node)
		return failed
	})
	return l, dirty, err
}

// showLarge passes an object that was allocated to the Alloc hook.
func (b *Buckets) showLarge(h *hookSet, l large) {
	callback.Guard(
		func() { callback.Run(h.Alloc, b.largeObject(l)) },
		func() {
			if l, ok := b.claim(mem.Ptr(l.addr)); ok {
				b.unchargeLarge(l)
				b.scrubLarge(l)
			}
		})
	runtime.KeepAlive(h)
}

// tryLarge is takeLarge for Buckets that are open. The error is ErrClosed or the arena's.
func (b *Buckets) tryLarge(n uintptr, node numa.Node) (l large, dirty uintptr, err error) {
	if b.closed.whileOpen(func() { l, dirty, err = b.takeLarge(n, node) }) {
		return l, dirty, err
	}
	if l.bytes > 0 {
		b.discardLarge(l)
	}
	return large{}, 0, ErrClosed
}

// most returns the bytes that nothing can exceed which the Buckets allocate at once from one node.
func (b *Buckets) most() int64 { return min(b.arena.MostAtOnce(), b.config.Group.least()) }

// giveBack gives back large objects that were given to FreeDeferred, those whose grace period is
// over, and those that wait in debug Buckets: it is the Buckets' arena.Reclaimer, beside those of
// the caches.
func (b *Buckets) giveBack() (objects int) {
	if n, busy := b.large.deferred.pending.Load(), b.large.deferred.busy.Load(); n > 0 || busy {
		b.drainLargeSoon()
		objects += int(max(0, n-b.large.deferred.pending.Load()))
		if busy {
			objects++ // the one that the other drain had in hand
		}
	}
	if n := b.freeQueue.Pending(); n > 0 {
		b.freeQueue.ReclaimReady()
		objects += int(max(0, n-b.freeQueue.Pending()))
	}
	b.backlog.Expedite()
	return objects + b.emptyLarge(false)
}

// takeLarge takes pages as allocLarge says, and counts them as in use. On error l is zero. All
// bytes behind the first dirty ones are zero. The pages are charged to the Group before, and until
// discardLarge has given them back: no other functions take or give back pages of large objects.
func (b *Buckets) takeLarge(n uintptr, node numa.Node) (l large, dirty uintptr, err error) {
	// Any cache knows the nodes. Fallback begins with the node itself.
	nodes, c := []numa.Node{node}, b.caches[0]
	if node == numa.NoNode {
		nodes = b.arena.Topology().Fallback(c.nodeAt(c.localNodeNow()))
	}
	bytes := int64(0) // for what the arena refuses however large its limit is
	if n <= arena.MaxMapping {
		bytes = int64(b.largeBytes(n))
	}
	if err = b.config.Group.charge(bytes); err != nil {
		return large{}, 0, err
	}
	for _, node := range nodes {
		if l, dirty, err = b.takePages(n, node); err == nil {
			break
		}
	}
	if err != nil {
		b.config.Group.uncharge(bytes)
		return large{}, 0, err
	}
	b.large.add(l.bytes)
	if l.mapped {
		b.large.mappings.add(l.bytes)
	}
	return l, dirty, nil
}

// largeBytes returns the bytes of the pages for an object of n bytes, with what lies beside it.
func (b *Buckets) largeBytes(n uintptr) uintptr {
	n += b.large.beside
	if n > maxRun {
		return mem.AlignUp(n, mem.PageSize)
	}
	return mem.PageSize * uintptr(b.arena.RunPages(int(runBytes(n)/mem.PageSize)))
}

// takePages takes a run or a mapping of a node. All bytes of the object behind the first dirty ones
// are zero.
func (b *Buckets) takePages(n uintptr, node numa.Node) (l large, dirty uintptr, err error) {
	lead, beside := b.large.lead, b.large.beside
	if n+beside > maxRun {
		addr, first, err := b.arena.Map(int64(min(n+beside, math.MaxInt64)), node)
		l = large{addr: addr + lead, bytes: b.largeBytes(n) - beside, mapped: true}
		if err == nil {
			b.large.mu.Lock()
			b.large.mine[l.addr] = mappingState{inUse: true}
			b.large.mu.Unlock()
		}
		return l, max(uintptr(first), lead) - lead, err
	}
	run, err := b.arena.AllocPages(int(b.largeBytes(n)/mem.PageSize), b.arena.Topology().Index(node))
	if err != nil {
		return large{}, 0, err
	}
	addr := b.arena.Addr(run.Page)
	pages := int(run.Pages)
	b.runMarks.Prepare(addr + lead)
	b.arena.SetOwner(run.Page, pages, owner.Of(b.id, b.arena.NodeIndex(addr)))
	l = large{addr: addr + lead, bytes: uintptr(pages)*mem.PageSize - beside, page: run.Page}
	if !run.Zero {
		dirty = l.bytes
	}
	return l, dirty, nil
}

// largeAt finds the large object that starts at p, which may wait for a grace period.
func (b *Buckets) largeAt(p unsafe.Pointer) (l large, ok bool) {
	addr := uintptr(p)
	if page, ok := b.pageOf(p); ok {
		head, pages, used := b.arena.Head(page)
		l = large{addr: b.arena.Addr(head) + b.large.lead, bytes: uintptr(pages)*mem.PageSize - b.large.beside, page: head}
		return l, used && b.arena.Owner(page).ID() == b.id && l.addr == addr
	}
	b.large.mu.Lock()
	_, ok = b.large.mine[addr]
	b.large.mu.Unlock()
	if !ok {
		return large{}, false
	}
	return large{addr: addr, bytes: b.mappedAt(addr), mapped: true}, ok
}

// mappedAt returns the bytes of the object of a mapping, 0 if its pages have gone back.
func (b *Buckets) mappedAt(addr uintptr) uintptr {
	bytes := uintptr(b.arena.Mapping(addr - b.large.lead))
	return max(bytes, b.large.beside) - b.large.beside
}

// inUse reports whether a large object is not marked as freed.
func (b *Buckets) inUse(l large) bool {
	if !l.mapped {
		return !b.arena.Owner(l.page).HasFlags()
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	return b.large.mine[l.addr].inUse
}

// claim marks the large object that starts at p as freed, and returns it. Only one goroutine
// succeeds.
func (b *Buckets) claim(p unsafe.Pointer) (l large, ok bool) {
	if l, ok = b.largeAt(p); !ok {
		return large{}, false
	}
	if !l.mapped {
		return b.claimRun(l)
	}
	b.large.mu.Lock()
	ok = b.large.mine[l.addr].inUse
	if ok {
		b.large.mine[l.addr] = mappingState{freed: callStack(2)}
	}
	b.large.mu.Unlock()
	l.bytes = b.mappedAt(l.addr) // no other goroutine can change it now
	return l, ok
}

// claimRun is claim for a run that largeAt has found. If the caller does not hold the object, it
// may have been freed since, and its page may lie in another run. With the mark set the run that
// has the page stays as it is, so a second look tells.
func (b *Buckets) claimRun(l large) (now large, ok bool) {
	word := b.arena.Owner(l.page)
	if word.ID() != b.id || word.HasFlags() {
		return large{}, false
	}
	if !b.arena.SwapOwner(l.page, word, word|owner.Freed) {
		return large{}, false
	}
	if now, ok = b.largeAt(mem.Ptr(l.addr)); !ok {
		b.arena.SwapOwner(l.page, word|owner.Freed, word)
	} else if sanitized {
		b.runMarks.NoteFree(l.addr, 2)
	}
	return now, ok
}

// unclaim undoes claim, for an object that a hook keeps.
func (b *Buckets) unclaim(l large) {
	if l.mapped {
		b.large.mu.Lock()
		b.large.mine[l.addr] = mappingState{inUse: true}
		b.large.mu.Unlock()
		return
	}
	word := b.arena.Owner(l.page)
	b.arena.SwapOwner(l.page, word, word.WithoutFlags())
}
