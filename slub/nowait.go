package slub

import "unsafe"

// AllocNoWait is Alloc for where nothing may be waited for: in hooks, finalizers and
// callbacks of whatever holds locks, or between two deadlines. It takes an object
// from what is at hand, the CPU's sheaves, the barn, slabs with free objects, or
// returns ErrWouldBlock at once; Alloc may then still succeed.
//
// It waits for no lock, makes no system call, not even to wake others who wait, nor to
// register a new thread for rseq; it allocates no Go memory, makes no slab, and touches
// no page for the first time. What Go does around any call, to grow a stack or to
// run somebody else, is not in its hands; nor is an Alloc hook, which is called as ever. The
// object itself may lie on a page that nobody has touched, unless the cache
// has InitOnAlloc or InitOnFree.
//
// Errors: ErrWouldBlock, ErrClosed. (Kernel: kmalloc_nolock.)
func (c *Cache) AllocNoWait() (unsafe.Pointer, error) {
	p, err := c.noWait.Func()()
	if err == nil && c.wrapped() {
		c.allocated(p, false)
	}
	return p, err
}

// allocNoWaitSlow is what AllocNoWait comes to when the CPU's main sheaf has nothing.
// The errors are not wrapped, which would allocate.
func (c *Cache) allocNoWaitSlow() (unsafe.Pointer, error) {
	if c.closed.Load() {
		return nil, c.failClosed()
	}
	if c.sheaves != nil {
		if p := c.sheaves.AllocNoWait(); p != nil {
			return p, nil
		}
	}
	c.slabs.count(AllocSlowpath, 1)
	if p := c.slabs.takeNoWait(c.localNode()); p != nil {
		return p, nil
	}
	c.slabs.count(singleFailed, 1)
	return nil, ErrWouldBlock
}
