package slub

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/sheaves"
)

// A Prefilled is a sheaf of objects that one goroutine has borrowed: Alloc from it
// can't fail for as many objects as Prefill promised, and is a few instructions of
// inlined Go, as is Free. It must be returned. (Kernel: struct slab_sheaf of
// kmem_cache_prefill_sheaf.)
type Prefilled struct {
	_     noCopy
	n     uint           // objects left
	room  uint           // objects that the array has room for
	array unsafe.Pointer // of the sheaf
	owner owner          // of objects that Free may put back
	cache *Cache
	loan  sheaves.Loan
	lent  uint // objects in the sheaf when it was last accounted for
}

// noCopy has vet report copies: a sheaf has one borrower.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Prefill borrows a sheaf with at least n objects, n > 0. Errors: ErrConfig when n
// is not positive or the cache has NoSheaves; ErrNoMemory; ErrClosed.
func (c *Cache) Prefill(n int) (*Prefilled, error) {
	if n <= 0 {
		return nil, c.badArgument("Prefill", "%d objects, want 1 or more", n)
	}
	if c.sheaves == nil {
		return nil, c.badArgument("Prefill", "the cache has NoSheaves")
	}
	if c.closed.Load() {
		return nil, c.failClosed()
	}
	loan, err := c.sheaves.Prefill(n)
	if err != nil {
		return nil, c.prefillError(err)
	}
	p := &Prefilled{cache: c, owner: ownerOf(c.id, c.localNode())}
	p.adopt(loan)
	return p, nil
}

func (c *Cache) prefillError(err error) error {
	c.slabs.count(allocFailed, 1)
	if c.closed.Load() {
		return ErrClosed
	}
	return fmt.Errorf("slub: cache %q: %w: %w", c.name, ErrNoMemory, err)
}

// adopt takes over a loan as it comes from package sheaves. Wrapped caches see every
// object now as it goes out, and those that were not taken as they come back: Alloc
// would be no inlined function if it called hooks.
func (p *Prefilled) adopt(loan sheaves.Loan) {
	room := loan.Room()
	p.loan, p.array, p.room = loan, unsafe.Pointer(unsafe.SliceData(room)), uint(len(room))
	p.n, p.lent = uint(loan.Size()), uint(loan.Size())
	if p.cache.wrapped() {
		for _, obj := range room[:p.n] {
			p.cache.allocated(obj, false)
		}
	}
}

// settle gives the loan its size back and counts what was taken from it.
func (p *Prefilled) settle() {
	if p.cache.wrapped() {
		p.n = uint(p.cache.freedAll(p.loan.Room()[:p.n]))
	}
	p.loan.SetSize(int(p.n))
	if p.lent != p.n {
		p.cache.slabs.count(loaned, int(p.lent-p.n))
		p.lent = p.n
	}
}

// Len returns how many objects are left.
func (p *Prefilled) Len() int { return int(p.n) }

// Alloc returns an object, or nil when none is left: it does not fall back on the
// cache. Content as for Cache.Alloc.
func (p *Prefilled) Alloc() unsafe.Pointer {
	n := p.n - 1
	if n >= p.room {
		return nil
	}
	p.n = n
	return *(*unsafe.Pointer)(unsafe.Add(p.array, n*8))
}

// Free puts an object of the cache back into the sheaf and reports whether it did.
// False means that the object is still the caller's, for Cache.Free: the sheaf is
// full, the object lies on another node, is to be looked at closer, or isn't the
// cache's. A call for such a case would keep Free from being inlined, which is
// half its speed.
func (p *Prefilled) Free(obj unsafe.Pointer) bool {
	if p.n >= p.room || owner(p.cache.free.Owner(obj)) != p.owner {
		return false
	}
	*(*unsafe.Pointer)(unsafe.Add(p.array, p.n*8)) = obj
	p.n++
	return true
}

// Refill makes sure of at least n objects, in a larger sheaf if need be. On error
// the sheaf is as it was. Errors: ErrNoMemory, ErrClosed; ErrConfig after Return. (Kernel:
// kmem_cache_refill_sheaf.)
func (p *Prefilled) Refill(n int) error {
	if p.cache.closed.Load() {
		return p.cache.failClosed()
	}
	if p.loan == (sheaves.Loan{}) {
		return p.cache.badArgument("Refill", "the prefilled sheaf was returned")
	}
	p.settle()
	loan, err := p.cache.sheaves.Refill(p.loan, n)
	if err != nil {
		p.adopt(loan) // the old one; its objects go out once more
		return p.cache.prefillError(err)
	}
	p.adopt(loan)
	return nil
}

// Return ends the loan; the objects left in the sheaf go back to the cache. The
// Prefilled is empty afterwards; a second Return does nothing. (Kernel:
// kmem_cache_return_sheaf.)
func (p *Prefilled) Return() {
	if p.loan == (sheaves.Loan{}) {
		return
	}
	p.settle()
	p.cache.sheaves.Return(p.loan)
	p.loan, p.array, p.room, p.n = sheaves.Loan{}, nil, 0, 0
}
