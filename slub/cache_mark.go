package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub/internal/slab"
)

// The objects of some caches have marks: those of the page classes, of hardened caches and debug
// caches, of those that Accounts allocate from or that count call sites, and of all in builds that
// check everything. A mark says whether the user holds the object; it lies beside the slabs (see
// slab.MarkTable and slab.ExtTable), or in the descriptor of a slab of one object.
//
//	free, in a sheaf or its slab --Alloc, before its hook--> in use
//	in use --claim, in a function that a user calls to free it--> free, or given to FreeRCU or
//	                                                             FreeDeferred, before its hook
//
// A second free fails to claim the object, and reports it: a claim is one atomic step, also among
// frees at the same instant. So no object has two owners. An allocation that finds an object in use
// reports it as well, and takes another: a free pointer has been overwritten.
//
// A cache that is instrumented for its marks alone has functions of its own in front of the
// sequences, which claim an object, then push it. FreeRCU has the same. A hardened cache has
// sequences that do both; see operateHardened.

// checked says that all objects of this build have marks.
const checked = sanitized || invariants.Enabled

// A marking is what a cache has whose objects have marks.
type marking struct {
	push, pushRCU percpu.Free // of an object that is claimed; their filters know all objects
	// onlyMarks says that the cache is instrumented for its marks, to clear objects, and for hooks,
	// alone.
	// hardened says that it is hardened. Both are constant after New.
	onlyMarks, hardened bool
	// debug is what a debug cache has; nil in others. Constant, too.
	debug *debugging
	// clears says that it is hardened, and has nothing else to do for an object than to look at the
	// mark, and at what the free has cleared. Constant, too.
	clears bool
	// accounted says that Accounts allocate from the cache: its objects have Exts. Constant.
	accounted bool
	// sites says that the cache counts what each call site has in use: as well. Constant.
	sites bool
}

// hasExts reports whether objects have an Ext, which has their mark.
func (m *marking) hasExts() bool { return m.accounted || m.sites }

// newMarking returns the marking of a cache; nil for none.
func newMarking(cfg Config, reserved reservation) *marking {
	hardened, debug := cfg.hardened(), newDebugging(cfg)
	if !reserved.single && !reserved.accounted && !cfg.CallSites && !hardened && !checked && debug == nil {
		return nil
	}
	return &marking{hardened: hardened, debug: debug, accounted: reserved.accounted,
		sites: cfg.CallSites && !reserved.accounted && debug == nil}
}

// init initializes the sequences. The filter knows all objects of the cache.
func (m *marking) init(c *Cache, filter percpu.Filter) {
	m.onlyMarks = !sanitized && !m.hasExts() && m.debug == nil
	m.clears = m.hardened && c.config.Flags&(InitOnAlloc|InitOnFree) == InitOnFree
	m.push.Init(filter.ForStacks(c.stacks, percpu.Main), c.freeClaimed)
	m.pushRCU.Init(filter.ForStacks(c.stacks, percpu.RCU), c.freeRCUClaimed)
}

// onlyMarks reports whether the cache is instrumented for its marks alone, or also to clear objects
// and for hooks.
func (c *Cache) onlyMarks() bool { return c.marks != nil && c.marks.onlyMarks }

// onlyMarked is onlyMarks of a cache without hooks.
func (c *Cache) onlyMarked() bool { return c.onlyMarks() && !c.hooked() }

// allocMarked is Alloc of a cache of which onlyMarked is true. It is prepare in one function for
// what is common: a hardened cache without InitOnAlloc.
func (c *Cache) allocMarked() (unsafe.Pointer, error) {
	for {
		p, err := c.popLooking()
		if err != nil {
			return nil, err
		}
		if c.marks.clears {
			if c.slabs.SetInUse(p) {
				c.checkCleared(uintptr(p))
				return p, nil
			}
			c.reportInUse(p)
		} else if c.prepare(p, 0) {
			return p, nil
		}
	}
}

// freeMarked is Free of a cache of which onlyMarked is true.
func (c *Cache) freeMarked(p unsafe.Pointer) {
	if !c.claimKnown(p, slab.Free) {
		c.freeInGo(p)
		return
	}
	if c.config.Flags&InitOnFree != 0 {
		c.clearFreed(uintptr(p))
	}
	c.marks.push.Func()(p)
}

// freeRCUMarked is FreeRCU of a cache of which onlyMarked is true.
func (c *Cache) freeRCUMarked(p unsafe.Pointer) {
	if !c.claimKnown(p, slab.GivenRCU) {
		c.freeRCUInGo(p)
		return
	}
	c.marks.pushRCU.Func()(p)
}

// claimKnown claims an object in use that a sheaf may take. It reports nothing.
func (c *Cache) claimKnown(p unsafe.Pointer, to slab.Mark) bool {
	o := c.marks.push.Owner(p)
	return o.ID() == c.id && !o.HasFlags() && c.slabs.Claim(p, o, to)
}

// freeClaimed is what frees a claimed object when the CPU's stack refuses it.
func (c *Cache) freeClaimed(p unsafe.Pointer) { c.freeChecked(p, c.marks.push.Owner(p)) }

// freeRCUClaimed is what gives a claimed object to FreeRCU when the CPU's stack refuses it.
func (c *Cache) freeRCUClaimed(p unsafe.Pointer) {
	c.giveRCU(p, c.marks.push.Owner(p), backlog.MayWait)
}

// claim makes the caller the one that frees an object with the owner word o, in the way that to
// says, or reports that it is free. It does nothing in a cache without marks.
func (c *Cache) claim(p unsafe.Pointer, o owner.Word, to slab.Mark) bool {
	switch {
	case c.marks == nil:
		return true
	case c.slabs.Claim(p, o, to):
		if sanitized {
			c.slabs.Marks().NoteFree(uintptr(p), 1)
		}
		if c.marks.debug != nil {
			c.marks.debug.noteFree(p, to)
		}
		return true
	}
	c.refuseFreed(p)
	return false
}

// claimOrReport is ownerOrReport for an object that its user frees, in the way that to says.
func (c *Cache) claimOrReport(p unsafe.Pointer, to slab.Mark) owner.Word {
	o := c.ownerOrReport(p)
	if o != 0 && !c.claim(p, o, to) {
		return 0
	}
	return o
}

// heldOrReport is ownerOrReport for an object that its user still holds: of objects with
// marks it reports those that are free.
func (c *Cache) heldOrReport(p unsafe.Pointer) owner.Word {
	o := c.ownerOrReport(p)
	if o != 0 && c.marks != nil && c.slabs.MarkOf(p, o) != slab.InUse {
		return c.refuseFreed(p)
	}
	return o
}

// freedBefore says how an object came to be free.
var freedBefore = [...]string{
	slab.Free:          "it has been freed before",
	slab.InUse:         "it has been freed before, and allocated meanwhile",
	slab.GivenRCU:      "it was given to FreeRCU before",
	slab.GivenDeferred: "it was given to FreeDeferred before",
	slab.Poisoned:      "it has been freed before",
}

// refuseFreed reports an object that is free.
func (c *Cache) refuseFreed(p unsafe.Pointer) owner.Word {
	detail := freedBefore[c.slabs.MarkOf(p, c.marks.push.Owner(p))]
	r := hooks.NewReport(hooks.DoubleFree, c.name, uintptr(p), "%s", detail)
	r.Freed = c.slabs.Marks().FreedBy(uintptr(p))
	return c.refuse(r)
}

// markInUse marks an object with a mark as in use, and counts it for its call site where that is
// asked for. If it is in use already, it has an owner: markInUse reports it and returns false.
func (c *Cache) markInUse(p unsafe.Pointer) (ok bool) {
	if c.slabs.SetInUse(p) {
		if c.marks.sites {
			c.noteSite(p)
		}
		return true
	}
	c.reportInUse(p)
	return false
}

// reportInUse reports an object that was to be handed out, and is in use.
func (c *Cache) reportInUse(p unsafe.Pointer) {
	r := hooks.NewReport(hooks.DoubleFree, c.primary().name, uintptr(p), "it is in use, and was to be handed out again")
	r.Freed = c.slabs.Marks().FreedBy(uintptr(p))
	c.fire(r)
}
