package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
)

// allocHooked is Alloc of a cache that is instrumented for its hooks alone.
func (c *Cache) allocHooked() (unsafe.Pointer, error) {
	p, err := c.popRaw.Func()()
	if err == nil {
		c.hookAlloc(p)
	}
	return p, err
}

// hookAlloc calls the Alloc hook, if there is one. If it doesn't return, the object goes back.
func (c *Cache) hookAlloc(p unsafe.Pointer) {
	h := c.hooking.now.Load()
	if h.Alloc == nil {
		return
	}
	returned := false
	defer func() { // callback.Guard takes longer
		if !returned {
			c.takeBack([]unsafe.Pointer{p})
		}
	}()
	callback.Run(h.Alloc, c.object(p))
	returned = true
	runtime.KeepAlive(h)
}

// hookFree asks the Free hook, if there is one, whether it keeps an object that its user frees. If
// the hook doesn't return, the object is freed to its slab.
func (c *Cache) hookFree(p unsafe.Pointer) (keep bool) {
	h := c.hooking.now.Load()
	if h.Free == nil {
		return false
	}
	returned := false
	defer func() {
		if !returned {
			c.takeBack([]unsafe.Pointer{p})
		}
	}()
	keep = c.keeps(h, p)
	returned = true
	return keep
}

// A hookedFree is Free of a cache that is instrumented for its hooks, perhaps for InitOnFree too:
// the hook, then the sequence.
type hookedFree struct {
	c    *Cache
	push percpu.Free // of an object that the hook has seen; its filter knows all objects
}

// newHookedFree returns a hookedFree's function.
func (c *Cache) newHookedFree() percpu.FreeFunc {
	f := &hookedFree{c: c}
	f.push.Init(c.freeRCU.ForStacks(c.stacks, percpu.Main), f.refused)
	return f.free
}

// free is Free. What it doesn't know as an object in a slab of the usual order it leaves to the
// thorough checks.
func (f *hookedFree) free(p unsafe.Pointer) {
	c := f.c
	if o := f.push.Owner(p); o.ID() != c.id || o.HasFlags() {
		c.freeInGo(p)
		return
	}
	if c.hookFree(p) {
		return
	}
	if c.config.Flags&InitOnFree != 0 {
		c.scrub(p)
	}
	f.push.Func()(p)
}

// refused frees an object that the CPU's stack refuses.
func (f *hookedFree) refused(p unsafe.Pointer) { f.c.freeChecked(p, f.push.Owner(p)) }
