package slub

import "unsafe"

// AllocNoWait is an Alloc that never waits, for hooks, finalizers, code that runs under a lock
// and code with a deadline. It takes an object that is at hand, in the CPU's sheaves, the barn or
// a slab with free objects. Otherwise it returns ErrWouldBlock at once; Alloc may then still
// succeed.
//
// It waits for no lock. It makes no system call, neither to wake a waiter nor to register a new
// thread for rseq. It allocates no Go memory, makes no slab and touches no page for the first
// time, except pages of per-CPU memory: on each CPU the first operations of every 16 caches may
// take a page fault. On a CPU that has not used the cache before it looks for an object in the
// barn and in slabs. An Alloc hook is called as usual, and the Go runtime may grow the stack or
// run another goroutine, as in any call. The object may lie on a page that was never touched,
// unless the cache has InitOnAlloc or InitOnFree.
//
// The allocation profile has no samples of it, and its objects are not guarded: either takes a slab
// of its own, and an arena that has none at hand would have to be waited for. ProfileDropped and
// GuardStats.Skipped count those that are missing.
//
// Any goroutine, also in the cache's own constructor, hooks and destructor. Errors:
// ErrWouldBlock, ErrClosed. (Kernel: kmalloc_nolock.)
func (c *Cache) AllocNoWait() (unsafe.Pointer, error) {
	if c.debug() != nil {
		return c.allocNoWaitDebug()
	}
	for {
		p, err := c.noWait.Func()()
		if err != nil || !c.instrumented() {
			return p, err
		}
		if p, ok := c.look(p); ok && c.onAlloc(p, 0) {
			return p, nil
		}
	}
}

// allocNoWaitSlow is AllocNoWait when the CPU's main sheaf is empty. It does not wrap errors,
// which would allocate.
func (c *Cache) allocNoWaitSlow() (unsafe.Pointer, error) {
	if c.closed.Load() {
		return nil, c.failClosed()
	}
	if c.failInjected(c.config.Size) {
		return nil, ErrWouldBlock
	}
	if c.sheaves != nil {
		p, picked := c.sheaves.TryAllocNoWaitSample()
		if picked {
			c.sampler.dropPick()
		}
		if p != nil {
			return p, nil
		}
	}
	c.count(AllocSlowpath, 1)
	if p := c.slabs.TakeNoWait(c.localNode()); p != nil {
		if c.sampler.pick(c.layout.slot) > 0 {
			c.sampler.dropPick()
		}
		return p, nil
	}
	c.count(singleFailed, 1)
	return nil, ErrWouldBlock
}
