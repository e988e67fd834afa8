package slub

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
)

// Caches whose objects look alike share slabs and sheaves: the second one is an alias
// of the first. Half-empty slabs of both then serve each other, and a CPU finds more
// of its objects in the processor's cache. What is lost is that Free can tell the two
// apart, and that each has counters; so whoever wants to see his objects by themselves,
// by a hook, a destructor or a capacity, never shares. (Kernel: find_mergeable,
// slab_unmergeable.)

// shared is what aliases have in common beside slabs and sheaves.
type shared struct {
	members   []*Cache    // the open ones, oldest first; the last one stays when it is closed. Under caches.mu
	left      []string    // names of those that were closed, the last maxListed of them. Under caches.mu
	ended     atomic.Bool // the last one is being closed, or is. Set under caches.mu
	rcuQueue  rcuQueue    // objects for FreeRCU that found no sheaf
	deferFree deferFree
	backlog   *backlog // of these alone, or of the Buckets that they are part of
}

// noMerging keeps all caches apart (kernel: slab_nomerge).
var noMerging = os.Getenv("SLUBD_NOMERGE") != ""

// mergeable reports whether a cache may share slabs.
func (c Config) mergeable() bool {
	h := c.Hooks
	watched := h.Alloc != nil || h.Free != nil || h.NewSlab != nil || h.Report != nil
	tuned := c.SheafCapacity != 0 || c.FreePtrOffset.set || c.BarnFull != 0 || c.BarnEmpty != 0 || c.Slabs != (Slabs{}) || c.MinPartial != 0
	return !noMerging && !sanitized && !watched && !tuned && c.Flags&(NoMerge|TypesafeByRCU) == 0 &&
		c.Ctor == nil && c.RCUDtor == nil
}

// alias returns a new alias of the oldest cache that cfg may share with, or nil.
func (r *registry) alias(a *arena.Arena, cfg Config) *Cache {
	if !cfg.mergeable() {
		return nil
	}
	want := cfg.layout()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.byID {
		if c == nil || c.ended.Load() || c.slabs.arena != a || !c.config.mergeable() {
			continue
		}
		// The kernel allows less than a word of waste, which for multiples of a word is
		// none; and a slot is a multiple of its alignment, so that both are aligned.
		if c.layout.slot != want.slot {
			continue
		}
		if c.config.Flags&^HWCacheAlign != cfg.Flags&^HWCacheAlign || c.domain != cfg.Domain || c.config.RCUDelay != cfg.RCUDelay || c.config.rcuLimits() != cfg.rcuLimits() {
			continue
		}
		other := c.alias(cfg)
		c.members = append(c.members, other)
		r.nameLocked(other)
		return other
	}
	return nil
}

// alias makes a Cache that works on c's slabs and sheaves.
func (c *Cache) alias(cfg Config) *Cache {
	other := &Cache{name: cfg.Name, id: c.id, config: &cfg, layout: c.layout, shared: c.shared, domain: c.domain,
		slabs: c.slabs, sheaves: c.sheaves, stacks: c.stacks, nodeOf: c.nodeOf, perSlab: c.perSlab}
	other.operate(c.free.Filter)
	return other
}

// leave ends c's part in what it shares, and reports whether it was the last one, who
// has to close it. Else the oldest of the others stands for all from then on: c's name may
// soon be another cache's.
func (r *registry) leave(c *Cache) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(c.members) > 1 {
		c.members = slices.DeleteFunc(c.members, func(m *Cache) bool { return m == c })
		r.byID[c.id] = c.members[0]
		c.left = append(slices.DeleteFunc(c.left, func(name string) bool { return name == c.name }), c.name)
		c.left = c.left[max(0, len(c.left)-maxListed):]
		r.forgetName(c)
		return false
	}
	c.ended.Store(true)
	return true
}

// suspects says whose the objects of c may be beside its own.
func (r *registry) suspects(c *Cache) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(c.left) == 0 {
		return ""
	}
	var names []string
	for _, name := range c.left {
		names = append(names, strconv.Quote(name))
	}
	return fmt.Sprintf("; some may be of %s, closed already, with which it shared slabs (NoMerge keeps caches apart)", strings.Join(names, ", "))
}

// Aliases returns how many other caches share slabs and sheaves with c, and so its
// counters. (Kernel: /sys/kernel/slab/<cache>/aliases.)
func (c *Cache) Aliases() int {
	caches.mu.Lock()
	defer caches.mu.Unlock()
	return len(c.members) - 1
}

// eldest returns the oldest open cache of those that share c's slabs, or the last one that
// was open. What concerns their slabs is reported under its name.
func (c *Cache) eldest() *Cache {
	caches.mu.Lock()
	defer caches.mu.Unlock()
	return c.members[0]
}

// shut makes the allocations of an alias fail that others' sheaves would else serve; those
// without an operation of their own ask closed.
func (c *Cache) shut() {
	refuse := func() (unsafe.Pointer, error) { return nil, c.failClosed() }
	for _, pop := range []*percpu.Pop{&c.pop, &c.bare, &c.noWait} {
		pop.Pass(refuse)
	}
}

// failClosed counts and returns the error of an allocation from a closed cache.
func (c *Cache) failClosed() error {
	c.slabs.count(allocFailed, 1)
	return ErrClosed
}
