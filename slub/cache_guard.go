package slub

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/slub/internal/guard"
)

// Some of the allocations that are picked get an object between guard pages (package guard), and
// not one of the cache's slabs. A cache that profiles, guards, or both, has its allocations picked
// at the sum of the two rates; each pick is for one of the two, at random. So its sequences have
// one counter, and the estimates of the profile stay right: a sample's weight is divided by the
// chance that the pick was for the profile. The governor may have changed the rates since the pick
// was drawn. The chance is that of the moment at which the pick is used, and so is the weight.

// defaultGuardRate is the automatic Config.GuardRate where the environment says nothing.
const defaultGuardRate = 64 << 20

// processGuardRate is the automatic Config.GuardRate of the process.
var processGuardRate = sync.OnceValue(func() int64 {
	return readBytes("SLUBD_GUARD", defaultGuardRate)
})

// guardsPossible says whether this build can report a fault. The race detector's builds have their
// arenas on the Go heap, and the address sanitizer finds the same errors in all objects.
const guardsPossible = sys.CanWatchGuards && !sanitized

// guardRate returns the rate that a config's GuardRate stands for, 0 for none.
func guardRate(configured int64) int64 {
	switch {
	case !guardsPossible || configured == None:
		return 0
	case configured == 0:
		return processGuardRate()
	}
	return configured
}

// guardable returns the GuardRate for the cache, or None if its objects can't be guarded: those
// that are larger than a page or of a page class, those that readers may read when they are free,
// and those of debug caches, which have red zones of their own.
func (c *Cache) guardable() int64 {
	if c.layout.slot > mem.PageSize || c.single || c.config.Flags&TypesafeByRCU != 0 || c.debug() != nil {
		return None
	}
	return c.config.GuardRate
}

// guards reports whether the cache guards objects.
func (c *Cache) guards() bool { return c.sampler != nil && c.sampler.guards.rate > 0 }

// guardsOnly reports whether the cache guards objects, and takes no samples for the profile.
func (c *Cache) guardsOnly() bool { return c.sampler != nil && c.sampler.samples.rate == 0 }

// guardOne replaces one of the objects by a guarded one, if there is room.
func (c *Cache) guardOne(objs []unsafe.Pointer, node int) {
	p := c.allocGuarded(node)
	if p == nil {
		return
	}
	i := rand.IntN(len(objs))
	replaced := objs[i]
	objs[i] = p // first: a report may not return
	c.slabs.Free(replaced)
}

// guarded describes an object to its pool.
func (c *Cache) guarded(addr uintptr) guard.Object {
	return guard.Object{Cache: c.name, Addr: addr, Size: c.layout.size, Slot: c.layout.slot, Link: c.layout.fp}
}

// allocGuarded allocates a guarded object of the node, or returns nil if there is no room for one:
// then the caller allocates as if it had not been picked. The caller counts the allocation.
func (c *Cache) allocGuarded(node int) (p unsafe.Pointer) {
	start := time.Now()
	if c.config.Group.nearLimit() {
		guard.Skip()
		return nil
	}
	open := c.closed.whileOpen(func() { p = c.takeGuarded(node) })
	switch {
	case p == nil:
		guard.Skip()
		return nil
	case !open:
		c.slabs.Free(p)
		return nil
	}
	pace.tookGuarded(start)
	return p
}

// takeGuarded takes a guarded object of the node, or returns nil.
func (c *Cache) takeGuarded(node int) unsafe.Pointer {
	pool := guard.For(c.Arena(), node)
	if pool == nil {
		return nil
	}
	stack := guard.CallerStack()
	slot, ok := pool.Take(stack)
	if !ok {
		return nil
	}
	p, err := c.slabs.TakeGuarded(pool.Page(slot), node, guard.Shift(c.layout.slot))
	if err != nil {
		pool.Release(slot)
		return nil
	}
	pool.Begin(slot, c.guarded(uintptr(p)), stack)
	return p
}

// guardedFreed is what the slabs tell of a guarded object that is freed.
func (c *Cache) guardedFreed(obj uintptr) (found, history string) { return guard.Check(c.guarded(obj)) }

// noteGuardedFree records the stack that frees an object that is alone in its slab, if it is a
// guarded one. It reports an object that was freed before, which its slab still has in use, and
// returns false: a list of FreeDeferred's, or a grace period, must not meet it as a page without
// access.
func (c *Cache) noteGuardedFree(p unsafe.Pointer) (first bool) {
	if !c.guards() || guard.NoteFree(uintptr(p)) {
		return true
	}
	c.refuse(hooks.NewReport(hooks.DoubleFree, c.name, uintptr(p), "%s", saysGiven))
	return false
}

// saysGiven says how an object came to be free whose memory nothing else has yet.
const saysGiven = "it has been freed before, or given to FreeRCU or FreeDeferred"

// explainGuarded is explain for an address among guarded pages, where no object is in use.
func explainGuarded(addr uintptr) (i pointerInfo, ok bool) {
	s, ok := guard.Look(addr)
	switch {
	case !ok || !s.Beside && !s.Freed:
		return pointerInfo{}, false
	case s.Beside:
		return pointerInfo{kind: hooks.ForeignPointer, detail: "a guard page"}, true
	case addr != s.Addr:
		return pointerInfo{kind: hooks.MisalignedPointer,
			detail: fmt.Sprintf("%+d bytes from the guarded object at %#x, which is free", int64(addr-s.Addr), s.Addr)}, true
	}
	return pointerInfo{kind: hooks.DoubleFree, detail: fmt.Sprintf("guarded object #%d is free", s.Slot)}, true
}

// addHistory adds to a report what is known of a guarded object.
func addHistory(r *hooks.Report) {
	if s, ok := guard.Look(r.Addr); ok && !s.Beside {
		r.History = s.History
		guard.Report()
	}
}

// pickGuard decides what an allocation is picked for: a guarded object, or a sample of the profile
// with the weight that it has then.
func (s *sampler) pickGuard(weight float64) (guarded bool, sampleWeight float64) {
	if s.guards.rate == 0 {
		return false, weight
	}
	samples, guards := s.rates()
	chance := guards / (samples + guards)
	if rand.Float64() < chance {
		return true, 0
	}
	return false, weight / (1 - chance)
}

// dropPick counts a pick of a call that can't use it.
func (s *sampler) dropPick() {
	if guarded, _ := s.pickGuard(1); guarded {
		guard.Skip()
	} else {
		samples.Drop()
	}
}

// GuardStats are figures of guarded objects in this process; see Config.GuardRate.
type GuardStats struct {
	Objects   int   // in use now; a pool has room for 255
	Allocated int64 // ever
	// Skipped allocations should have been guarded and were not: the pool was full, or three
	// quarters full with an object of the same call stack; memory was near a limit; the arena has a
	// limit below 128 MiB; the kernel refused; or the allocation must not wait.
	Skipped int64
	// Reports were made of faults, of frees that were refused, and of bytes written beside objects.
	Reports int64
	// Unguarded objects were freed, and the kernel refused to guard their page.
	Unguarded int64
}

// ReadGuardStats reads the figures. Any goroutine.
func ReadGuardStats() GuardStats {
	s := guard.ReadStats()
	return GuardStats{Objects: s.InUse, Allocated: s.Allocated, Skipped: s.Skipped, Reports: s.Reports, Unguarded: s.Unguarded}
}

// GuardMode says whether caches guard objects by default: "on", or "off" with the reason. Any
// goroutine, at any time.
func GuardMode() (mode, reason string) {
	switch {
	case sanitized:
		return "off", "the build has a sanitizer"
	case !sys.CanWatchGuards:
		return "off", "needs Linux and cgo"
	case processGuardRate() == 0:
		return "off", "SLUBD_GUARD is off"
	}
	return "on", ""
}
