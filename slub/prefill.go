package slub

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/sheaves"
)

// A Prefilled is a sheaf of objects that one goroutine has borrowed: Alloc from it
// can't fail for as many objects as Prefill promised, and is a few instructions of
// inlined Go. It must be returned. (Kernel: struct slab_sheaf of
// kmem_cache_prefill_sheaf.)
type Prefilled struct {
	room  []unsafe.Pointer // the sheaf's array; empty where objects need more care
	n     int              // objects left
	own   uint32           // owner word of objects that Free may put back
	cache *Cache
	loan  sheaves.Loan
	lent  int // objects in the sheaf when it was last accounted for
}

// Prefill borrows a sheaf with at least n objects, n > 0. Errors: ErrConfig when n
// is not positive or the cache has NoSheaves; ErrNoMemory; ErrClosed.
func (c *Cache) Prefill(n int) (*Prefilled, error) {
	if n <= 0 || c.sheaves == nil {
		return nil, fmt.Errorf("%w: cache %q can't prefill %d objects", ErrConfig, c.name, n)
	}
	if c.closed.Load() {
		return nil, ErrClosed
	}
	loan, err := c.sheaves.Prefill(n)
	if err != nil {
		return nil, c.prefillError(err)
	}
	p := &Prefilled{cache: c, own: c.id<<nodeBits | uint32(c.localNode())}
	p.adopt(loan)
	return p, nil
}

func (c *Cache) prefillError(err error) error {
	c.slabs.count(allocFailed, 1)
	if errors.Is(err, sheaves.ErrShort) {
		err = ErrNoMemory
	}
	return fmt.Errorf("slub: cache %q: %w", c.name, err)
}

// adopt takes over a loan as it comes from package sheaves.
func (p *Prefilled) adopt(loan sheaves.Loan) {
	p.loan, p.n, p.lent = loan, loan.Size(), loan.Size()
	if p.room = loan.Room(); p.cache.wrapped() {
		p.room = nil
	}
}

// settle gives the loan its size back and counts what was taken from it.
func (p *Prefilled) settle() {
	p.loan.SetSize(p.n)
	if taken := p.lent - p.n; taken != 0 {
		p.cache.slabs.count(loaned, taken)
		p.lent = p.n
	}
}

// Len returns how many objects are left.
func (p *Prefilled) Len() int { return p.n }

// Alloc returns an object, or nil when none is left: it does not fall back on the
// cache. Content as for Cache.Alloc.
func (p *Prefilled) Alloc() unsafe.Pointer {
	if n := uint(p.n - 1); n < uint(len(p.room)) {
		p.n = int(n)
		return p.room[n]
	}
	return p.allocSlow()
}

func (p *Prefilled) allocSlow() unsafe.Pointer {
	if p.n == 0 {
		return nil
	}
	p.n--
	obj := p.loan.Room()[p.n]
	p.cache.allocated(obj)
	return obj
}

// Free puts an object of the cache back into the sheaf, or gives it to the cache
// when the sheaf is full. Checks as Cache.Free.
func (p *Prefilled) Free(obj unsafe.Pointer) {
	if n := uint(p.n); n < uint(len(p.room)) && p.cache.ownerOf(obj) == p.own {
		p.room[n] = obj
		p.n++
		return
	}
	p.cache.Free(obj)
}

// Refill makes sure of at least n objects, in a larger sheaf if need be. On error
// the sheaf is as it was. Errors: ErrNoMemory, ErrClosed. (Kernel:
// kmem_cache_refill_sheaf.)
func (p *Prefilled) Refill(n int) error {
	if p.cache.closed.Load() {
		return ErrClosed
	}
	p.settle()
	loan, err := p.cache.sheaves.Refill(p.loan, n)
	if err != nil {
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
	p.loan, p.room, p.n = sheaves.Loan{}, nil, 0
}
