package slub

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// A Prefilled is a sheaf of objects on loan to its borrower. Allocating the number of objects
// that Prefill promised can't fail. Alloc and Free are a few instructions of inlined Go. One
// goroutine at a time may use it, and it must be returned with Return before the cache is closed.
// (Kernel: struct slab_sheaf of kmem_cache_prefill_sheaf.)
type Prefilled struct {
	_     noCopy
	n     uint           // objects left
	room  uint           // slots of the array; 0 if allocMarked and freeMarked do all
	array unsafe.Pointer // of the sheaf
	owner owner.Word     // of objects that Free may put back
	cache *Cache
	loan  sheaves.Loan
	lent  uint // objects in the sheaf when they were last counted

	shown   bool      // the objects were lent when there was a hook for every object
	samples int       // of the objects that were lent, those that have a slab of their own
	node    numa.Node // in a debug cache: where Refill takes objects, numa.NoNode for anywhere
}

// noCopy makes vet report copies: a sheaf has one borrower.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Prefill lends a sheaf with at least n objects, n > 0. Any goroutine. It costs a few stores if
// the CPU's spare sheaf or a sheaf of the barn has that many objects, otherwise it takes objects
// from slabs. Errors: ErrConfig if n is not positive or the cache has NoSheaves; ErrPrefill at
// once, without any work, if n is above MaxPrefill or more than the arena or the Group may hold;
// ErrNoMemory; ErrClosed. (Kernel: kmem_cache_prefill_sheaf.)
func (c *Cache) Prefill(n int) (*Prefilled, error) {
	return c.prefill(n, numa.NoNode, "Prefill", func() (sheaves.Loan, error) { return c.sheaves.Prefill(n) })
}

// PrefillNode is Prefill of objects that lie on the given node, or an error: it does not fall back
// on other nodes, and neither does Refill of what it returns. All objects come from slabs; Return
// keeps them for that node. It costs what filling a sheaf from slabs costs. With numa.NoNode it is
// Prefill. Any goroutine.
//
// Errors: Prefill's; ErrNode for a node that the topology doesn't have; those of AllocNode.
func (c *Cache) PrefillNode(n int, node numa.Node) (*Prefilled, error) {
	if node == numa.NoNode {
		return c.Prefill(n)
	}
	topology := c.Arena().Topology()
	i := topology.Index(node)
	switch {
	case i < 0:
		return nil, fmt.Errorf("%w: cache %q: node %d", ErrNode, c.name, node)
	case !topology.HasMemory(node):
		return nil, fmt.Errorf("slub: cache %q: node %d: %w", c.name, node, c.failed(ErrNoMemory))
	}
	if err := c.misplaced(i); err != nil {
		return nil, fmt.Errorf("slub: cache %q: %w", c.name, c.failed(err))
	}
	return c.prefill(n, node, "PrefillNode", func() (sheaves.Loan, error) { return c.sheaves.PrefillNode(n, i) })
}

// prefill checks the arguments and borrows a sheaf of n objects of a node, or of any, for Prefill
// and PrefillNode.
func (c *Cache) prefill(n int, node numa.Node, name string, borrow func() (sheaves.Loan, error)) (*Prefilled, error) {
	if n <= 0 {
		return nil, c.argumentError(name, "%d objects, want 1 or more", n)
	}
	if c.sheaves == nil && c.debug() == nil {
		return nil, c.argumentError(name, "the cache has NoSheaves")
	}
	if c.closed.Load() {
		return nil, c.failClosed()
	}
	if err := c.checkPrefill(n); err != nil {
		return nil, err
	}
	if c.debug() != nil {
		return c.prefillDebug(n, node)
	}
	if err := c.injected(n); err != nil {
		return nil, err
	}
	c.drain(drainMost)
	var loan sheaves.Loan
	err := c.lend(n, func() (err error) {
		loan, err = borrow()
		return err
	})
	if err != nil {
		return nil, c.prefillError(err)
	}
	p := &Prefilled{cache: c}
	p.adopt(loan)
	return p, nil
}

// noOwner is the owner word of no page. A Prefilled with it takes no object back: Cache.Free has to
// look at the object's mark, or to call its hook.
const noOwner owner.Word = owner.Max + 1

// MaxPrefill is the largest number of objects that Prefill lends: 8 MiB of pointers. AllocBulk has
// no such bound.
const MaxPrefill = sheaves.MaxPrefill

// checkPrefill returns an error if n objects are more than any Prefill could lend.
func (c *Cache) checkPrefill(n int) error {
	a, most := c.Arena(), int64(MaxPrefill)
	room := min(c.limit(), int64(a.Pages())*mem.PageSize) / int64(c.layout.slot)
	if most = min(most, room); int64(n) <= most {
		return nil
	}
	return fmt.Errorf("slub: cache %q: %w: %d, at most %d", c.name, c.failed(ErrPrefill), n, most)
}

// lend calls try, which asks package sheaves for a loan of n objects. Before it fails for lack of
// memory it has caches give back what they keep, as takeSlabs does: after a failure package sheaves
// holds no lock and no sheaf any more.
func (c *Cache) lend(n int, try func() error) error {
	attempt := func() error {
		before := c.refillError.Load()
		return c.loanError(try(), before)
	}
	err := attempt()
	if err == nil || errors.Is(err, sheaves.ErrClosed) {
		return err
	}
	return c.relieve(err, n, attempt)
}

// noteRefillError notes why a refill of sheaves has failed. It is no part of its caller, which
// would otherwise allocate memory for err without an error, too.
//
//go:noinline
func (c *Cache) noteRefillError(err error) { c.refillError.Store(&err) }

// loanError returns the error of an attempt as one that matches ErrNoMemory. Package sheaves
// doesn't say why the source had no objects, so it is looked up: before is what refillError was
// before the attempt. What another goroutine's refill has failed for meanwhile holds for this one,
// too.
func (c *Cache) loanError(err error, before *error) error {
	if err == nil || errors.Is(err, sheaves.ErrClosed) {
		return err
	}
	if reason := c.refillError.Load(); reason != before {
		return *reason
	}
	return fmt.Errorf("%w: %w", ErrNoMemory, err)
}

// prefillError returns the error for the caller of what lend has returned.
func (c *Cache) prefillError(err error) error {
	if c.closed.Load() {
		return c.failClosed()
	}
	err = c.failed(err)
	return fmt.Errorf("slub: cache %q: %w%s", c.name, err, c.backlog.blame(c.Arena(), c.domain))
}

// adopt takes over a loan from package sheaves. Its objects are in use from now on, taken or not.
// In an instrumented cache the hooks see every object of the sheaf as allocated now, and those that
// were not taken as freed when the sheaf is returned: Alloc would not be inlined if it called
// hooks.
func (p *Prefilled) adopt(loan sheaves.Loan) {
	room := loan.Slots()
	p.shown = p.cache.hooked()
	p.owner = owner.Of(p.cache.id, loan.Node())
	if p.shown || p.cache.marks != nil && !checked {
		p.owner = noOwner
	}
	p.loan, p.array, p.room = loan, unsafe.Pointer(unsafe.SliceData(room)), uint(len(room))
	p.n, p.lent = uint(loan.Size()), uint(loan.Size())
	p.keepObjects(func(objs []unsafe.Pointer) { p.end(p.lent-uint(len(objs)), objs, nil) })
	p.sample(room[:p.n])
	if p.cache.marks != nil {
		if checked {
			p.room = 0
		}
		p.n = uint(p.prepare(room[:p.n]))
	}
	if p.cache.instrumented() {
		p.cache.onAllocAll(room[:p.n], func(accepted, rest []unsafe.Pointer) {
			for _, obj := range rest {
				p.scrub(obj)
			}
			p.end(p.lent-uint(len(accepted)+len(rest)), rest, accepted)
		})
	}
}

// settle ends the use of the objects that are left, and counts those that were taken. The caller
// passes the loan on. It returns the samples among what is left, which no sheaf may take: they are
// no longer in the array.
func (p *Prefilled) settle() (samples []unsafe.Pointer) {
	p.keepObjects(func(objs []unsafe.Pointer) { p.end(p.lent-uint(len(objs)), nil, objs) })
	left := int(p.n)
	if p.cache.instrumented() {
		objs := p.loan.Slots()[:p.n]
		left = p.cache.onFreeAll(objs, p.scrub, func(free, rest []unsafe.Pointer) {
			p.end(p.lent-uint(len(free)+len(rest)), free, rest)
		})
	}
	left, samples = p.withdraw(p.loan.Slots()[:left])
	p.loan.SetSize(left)
	p.count(p.lent - uint(left+len(samples)))
	p.n = uint(left)
	return samples
}

// count counts how many of the objects that were lent are in use, now that the others go back.
func (p *Prefilled) count(taken uint) {
	if taken != 0 {
		p.cache.count(loaned, int(taken))
	}
	p.lent = 0
}

// end ends the loan when a hook or a report has not returned. taken of its objects are in use. free
// and rest, which lie in its array, are as for finishFree.
func (p *Prefilled) end(taken uint, free, rest []unsafe.Pointer) {
	loan := p.loan
	p.count(taken)
	p.forget()
	defer func() {
		loan.SetSize(0)
		p.cache.sheaves.End(loan)
	}()
	p.cache.finishFree(free, rest)
}

// forget makes p a Prefilled without a loan.
func (p *Prefilled) forget() {
	p.loan, p.array, p.room, p.n, p.lent, p.samples = sheaves.Loan{}, nil, 0, 0, 0, 0
}

// Len returns how many objects are left.
func (p *Prefilled) Len() int { return int(p.n) }

// Alloc returns an object, or nil if none is left: it does not fall back on the cache. Content as
// for Cache.Alloc.
//
// It is inlined, and calls nothing: a call, even one that is never made, has Go keep the variables
// of the loops around it in memory, which takes half as long again.
func (p *Prefilled) Alloc() unsafe.Pointer {
	n := p.n - 1
	if n >= p.room {
		if checked {
			return p.allocMarked()
		}
		return nil
	}
	p.n = n
	return *(*unsafe.Pointer)(unsafe.Add(p.array, n*8))
}

// Free puts an object of the cache back into the sheaf and reports whether it did. False means
// that the caller still owns the object and passes it to Cache.Free: the sheaf is full, or the
// object is of another node, of a slab that needs a closer look, or not of this cache. Free does
// not call Cache.Free itself since it would not be inlined then, and half as fast.
func (p *Prefilled) Free(obj unsafe.Pointer) bool {
	if p.n >= p.room || p.cache.free.Owner(obj) != p.owner {
		if checked {
			return p.freeMarked(obj)
		}
		return false
	}
	*(*unsafe.Pointer)(unsafe.Add(p.array, p.n*8)) = obj
	p.n++
	return true
}

// Refill makes the sheaf hold at least n objects; it may exchange it for a larger one. On error
// the sheaf is unchanged. Errors: ErrPrefill, ErrNoMemory, ErrClosed; ErrConfig after Return.
// (Kernel: kmem_cache_refill_sheaf.)
func (p *Prefilled) Refill(n int) error {
	if p.cache.closed.Load() {
		return p.cache.failClosed()
	}
	if p.loan == (sheaves.Loan{}) && !p.isOwn() {
		return p.cache.argumentError("Refill", "the prefilled sheaf was returned")
	}
	if err := p.cache.checkPrefill(n); err != nil {
		return err
	}
	if p.isOwn() {
		return p.fillDebug(n)
	}
	samples := p.settle()
	defer func() { p.cache.flushSamples(samples) }()
	var loan sheaves.Loan
	refill := func() (err error) {
		callback.Guard(func() { loan, err = p.cache.sheaves.Refill(p.loan, n) }, p.forget)
		p.loan = loan
		return err
	}
	var err error
	callback.Guard(func() { err = p.cache.lend(n, refill) }, func() {
		if p.loan != (sheaves.Loan{}) { // a shrinker has not returned
			p.cache.sheaves.End(p.loan)
			p.forget()
		}
	})
	if err != nil {
		// The old one, whose objects count as allocated again. The samples count as taken before,
		// as what Free puts into it does.
		again := copy(loan.Slots()[loan.Size():], samples)
		loan.SetSize(loan.Size() + again)
		samples = nil
		p.adopt(loan)
		p.count(uint(again))
		p.lent = uint(loan.Size() - again)
		p.samples += again
		return p.cache.prefillError(err)
	}
	p.adopt(loan)
	return nil
}

// Return ends the loan and gives the objects left in the sheaf back to the cache. The Prefilled
// is empty afterwards, and a second Return does nothing. (Kernel: kmem_cache_return_sheaf.)
func (p *Prefilled) Return() {
	if p.isOwn() {
		objs := p.ownObjects()
		p.forget()
		p.cache.FreeBulk(objs)
		return
	}
	if p.loan == (sheaves.Loan{}) {
		return
	}
	samples := p.settle()
	defer p.cache.flushSamples(samples)
	loan := p.loan
	p.forget()
	p.cache.sheaves.Return(loan)
}
