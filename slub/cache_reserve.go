package slub

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// A Reserve is a number of objects that are put aside, for work that must go on when memory is used
// up: writing back what is dirty so that more becomes free, for example. As long as what its users
// hold is given back in the end, each of them gets an object in the end. (Kernel: mempool_t.)
//
// Any goroutine may call all methods; Close comes after the last use. The objects put aside count
// as in use, and so Reserve.Close comes before the cache's.
type Reserve struct {
	cache *Cache
	size  int
	freed chan struct{} // full when an object was put aside, for one that waits

	mu     sync.Mutex // a leaf
	aside  []unsafe.Pointer
	closed atomic.Bool // set under mu
}

// NewReserve puts n objects of the cache aside, n > 0. It costs as much as AllocBulk. Errors:
// ErrConfig if n is not positive; as AllocBulk. (Kernel: mempool_create_slab_pool.)
func (c *Cache) NewReserve(n int) (*Reserve, error) {
	if n <= 0 {
		return nil, c.argumentError("NewReserve", "%d objects, want 1 or more", n)
	}
	if c.bytesOf(n) > c.limit() {
		return nil, fmt.Errorf("slub: cache %q: a reserve of %d objects: %w", c.name, n, ErrNoMemory)
	}
	r := &Reserve{cache: c, size: n, freed: make(chan struct{}, 1), aside: make([]unsafe.Pointer, n)}
	if err := c.AllocBulk(r.aside); err != nil {
		return nil, err
	}
	return r, nil
}

// Alloc returns an object: of the cache if that has memory, else one that was put aside, else the
// next one that Free puts aside or that the cache can provide. It waits for that until ctx ends,
// and so never fails for a caller whose ctx does not end. Content and cost are as for Cache.Alloc
// while the cache has memory.
//
// Rules as for Cache.AllocContext; with a ctx that has ended it does not wait, and any goroutine
// but a callback may call it. Errors: ErrNoMemory together with ctx.Err(); ErrClosed. (Kernel:
// mempool_alloc.)
func (r *Reserve) Alloc(ctx context.Context) (unsafe.Pointer, error) {
	if r.closed.Load() {
		return nil, ErrClosed
	}
	p, err := r.cache.Alloc()
	if !shortOfMemory(err) {
		return p, err
	}
	if p, err := r.take(); p != nil || err != nil {
		return p, err
	}
	for {
		if p, err = r.wait(ctx, err); p != nil || !shortOfMemory(err) || ctx.Err() != nil {
			return p, err
		}
	}
}

// wait waits for a Free, or for the cache for one pause at most. err is the cache's last error.
func (r *Reserve) wait(ctx context.Context, err error) (unsafe.Pointer, error) {
	pause, done := context.WithTimeout(ctx, longestPause)
	defer done()
	select {
	case <-r.freed:
	case <-pause.Done():
	}
	if p, closed := r.take(); p != nil || closed != nil {
		return p, closed
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return r.cache.Alloc()
}

// take takes an object that was put aside, or returns nil. The error is ErrClosed.
func (r *Reserve) take() (unsafe.Pointer, error) {
	r.mu.Lock()
	if r.closed.Load() {
		r.mu.Unlock()
		r.wake() // the next one that waits
		return nil, ErrClosed
	}
	last := len(r.aside) - 1
	if last < 0 {
		r.mu.Unlock()
		return nil, nil
	}
	p := r.aside[last]
	r.aside = r.aside[:last]
	r.mu.Unlock()
	if last > 0 {
		r.wake()
	}
	if c := r.cache; c.config.Flags&(InitOnAlloc|InitOnFree) != 0 { // no free has cleared it
		mem.Zero(uintptr(p), uintptr(c.config.Size))
	}
	return p, nil
}

// wake lets one that waits look again.
func (r *Reserve) wake() {
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

// Free puts an object of the cache aside if there are less than the reserve's number, and frees it
// otherwise. It doesn't matter whether the object came from the reserve. Objects that are put aside
// stay allocated: hooks don't see them. The pointer is checked as by Cache.Free; nil is ignored. It
// costs a mutex more than Cache.Free. (Kernel: mempool_free.)
func (r *Reserve) Free(p unsafe.Pointer) {
	if r.cache.heldOrReport(p) == 0 {
		return
	}
	r.mu.Lock()
	if r.closed.Load() || len(r.aside) == r.size {
		r.mu.Unlock()
		r.cache.Free(p)
		return
	}
	if invariants.Enabled && r.isAsideLocked(p) {
		r.mu.Unlock()
		h := r.cache.hooking.now.Load()
		hooks.NewReport(hooks.DoubleFree, r.cache.name, uintptr(p), "it was put aside already").Fire(&h.Hooks)
		runtime.KeepAlive(h)
		return
	}
	r.aside = append(r.aside, p)
	r.mu.Unlock()
	r.wake()
}

// isAsideLocked reports whether p was put aside. The caller holds mu.
func (r *Reserve) isAsideLocked(p unsafe.Pointer) bool {
	for _, other := range r.aside {
		if other == p {
			return true
		}
	}
	return false
}

// Len returns how many objects are put aside.
func (r *Reserve) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.aside)
}

// Close frees what is put aside. From then on Alloc returns ErrClosed, also where it waits, and
// Free is the cache's. A second Close does nothing. (Kernel: mempool_destroy.)
func (r *Reserve) Close() {
	r.mu.Lock()
	aside := r.aside
	r.aside = nil
	r.closed.Store(true)
	r.mu.Unlock()
	r.wake()
	r.cache.FreeBulk(aside)
}
