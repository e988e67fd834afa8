package slub

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// Caches with the flag Merge whose objects have the same layout share slabs and sheaves: the second
// one is an alias of the first. Each then uses the free objects in the other's half-empty slabs,
// and a CPU finds more of its objects in the processor's cache. On the other hand Free can't tell
// the two caches apart, and they have the same counters. So a cache with a hook, a destructor or a
// capacity of its own never shares. (Kernel: find_mergeable, slab_unmergeable.)

// shared is what aliases have in common in addition to slabs and sheaves.
type shared struct {
	counters    percpu.Counters // cells of Event, and of the items behind NumEvents
	members     []*Cache        // open, oldest first; the last stays when closed. Under caches.mu
	closedNames []string        // names of the maxListed that were closed last. Under caches.mu
	groupClosed closeFlag       // Close of the last open one has begun. Set under caches.mu
	freeQueue   freequeue.Queue // objects given to FreeRCU that found no sheaf
	deferFree   deferFree
	reclaimer   *arena.Reclaimer        // constant once the cache is published
	born        uint64                  // increases from group to group; constant once published
	nodes       *percpu.Nodes           // with the cache's nodeOf, constant
	lease       *lease                  // number and cells, constant; ends after Close
	hooking     hookState               // a cache with hooks has no aliases
	ofBuckets   bool                    // it is a size class; constant once the cache is published
	member      *groupMember            // of all members' Config.Group; constant as well
	refillError atomic.Pointer[error]   // of the latest source.Refill that failed; see loanError
	backlog     *sharedBacklog          // of this group alone, or of its Buckets
	locals      localSet                // those of all members
	damage      damage                  // of their slabs
	sampler     *sampler                // nil: no samples are taken. Constant
	buckets     atomic.Pointer[Buckets] // those that it is a class of, or nil
	failures    failures                // of allocations, by reason
}

// mergeAll gives all caches the flag Merge (kernel: slab_merge).
var mergeAll = readSwitch("SLUBD_MERGE")

// mergeable reports whether a cache may share slabs.
func (c Config) mergeable() bool {
	h := c.Hooks
	watched := h.Alloc != nil || h.Free != nil || h.NewSlab != nil || h.Report != nil
	tuned := c.SheafCapacity != 0 || c.FreePtrOffset.set || c.BarnFull != 0 || c.BarnEmpty != 0 ||
		c.Slabs != (SlabLimits{}) || c.ProfileRate != 0 || c.GuardRate != 0 || c.Tag != "" || c.MinPartial != 0 || c.RemoteDefragRatio != 0 ||
		c.Hardened != 0 || c.CallSites || c.debugFlags() != 0
	return (mergeAll || c.Flags&Merge != 0) && !watched && !tuned && c.Flags&TypesafeByRCU == 0 &&
		c.Ctor == nil && c.RCUDtor == nil
}

// A layoutID is what caches that share slabs have in common. The kernel accepts a waste of less
// than a word, which for multiples of a word is none. A slot is a multiple of its alignment, so
// objects of one slot size are aligned for all.
type layoutID struct {
	arena  *arena.Arena
	group  *Group
	slot   uintptr
	flags  Flags
	domain *rcu.Domain
	delay  time.Duration
	limits rcuLimits
}

func (c Config) layoutID(a *arena.Arena) layoutID {
	return layoutID{arena: a, group: c.Group, slot: c.layout().slot, flags: c.Flags &^ (HWCacheAlign | Merge), domain: c.Domain,
		delay: c.RCUDelay, limits: c.rcuLimits()}
}

// joinableLocked lets other caches share c's slabs, if its config allows. There may be several
// groups with one layoutID: of caches that were made at the same time. The caller holds mu.
func (r *registry) joinableLocked(c *Cache) {
	if !c.config.mergeable() || c.hooking.now.Load() != noHooks {
		return
	}
	if r.shared == nil {
		r.shared = map[layoutID][]*Cache{}
	}
	id := c.config.layoutID(c.Arena())
	r.shared[id] = append(r.shared[id], c)
}

// notJoinableLocked undoes joinableLocked for c's group. The caller holds mu.
func (r *registry) notJoinableLocked(c *Cache) {
	id := c.config.layoutID(c.Arena())
	left := slices.DeleteFunc(r.shared[id], func(other *Cache) bool { return other.shared == c.shared })
	if len(left) == 0 {
		delete(r.shared, id)
		return
	}
	r.shared[id] = left
}

// alias returns a new alias of the oldest group whose slabs cfg can share, or nil. It costs the
// same however many caches are open.
func (r *registry) alias(a *arena.Arena, cfg Config) *Cache {
	if !cfg.mergeable() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	groups := r.shared[cfg.layoutID(a)]
	if len(groups) == 0 {
		return nil
	}
	c := groups[0]
	other := c.alias(cfg)
	c.members = append(c.members, other)
	r.nameLocked(other)
	return other
}

// alias makes a Cache that uses c's slabs and sheaves.
func (c *Cache) alias(cfg Config) *Cache {
	other := &Cache{name: cfg.Name, id: c.id, config: &cfg, layout: c.layout, shared: c.shared, domain: c.domain,
		slabs: c.slabs, sheaves: c.sheaves, stacks: c.stacks, nodeOf: c.nodeOf, perSlab: c.perSlab}
	if c.marks != nil {
		other.marks = newMarking(cfg, reservation{})
		other.marks.init(other, c.marks.push.Filter)
	}
	other.operate(c.freeRCU.Filter)
	return other
}

// removeMember takes c out of the group that shares its slabs. It returns true, and leaves c in,
// if c is the last member, which then has to close the slabs. Otherwise the oldest member gives
// the group its name from then on: another cache may soon have c's name.
func (r *registry) removeMember(c *Cache) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(c.members) > 1 {
		c.members = slices.DeleteFunc(c.members, func(m *Cache) bool { return m == c })
		r.byID[c.id] = c.members[0]
		c.closedNames = append(slices.DeleteFunc(c.closedNames, func(name string) bool { return name == c.name }), c.name)
		c.closedNames = c.closedNames[max(0, len(c.closedNames)-maxListed):]
		r.names.Remove(c.name, c)
		return false
	}
	c.groupClosed.Store(true)
	r.notJoinableLocked(c)
	return true
}

// closedAliases returns a text with the names of closed caches whose objects may be in c's slabs.
func (r *registry) closedAliases(c *Cache) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(c.closedNames) == 0 {
		return ""
	}
	var names []string
	for _, name := range c.closedNames {
		names = append(names, strconv.Quote(name))
	}
	return fmt.Sprintf("; some may be of %s, closed already, with which it shared slabs (Merge)", strings.Join(names, ", "))
}

// Aliases returns how many other open caches share slabs, sheaves and counters with c. Any
// goroutine. (Kernel: /sys/kernel/slab/<cache>/aliases.)
func (c *Cache) Aliases() int {
	caches.mu.Lock()
	defer caches.mu.Unlock()
	return len(c.members) - 1
}

// primary returns the oldest open cache of those that share c's slabs, or the last that was open.
// Reports about their slabs have its name.
func (c *Cache) primary() *Cache {
	caches.mu.Lock()
	defer caches.mu.Unlock()
	return c.members[0]
}

// rejectAllocs makes the allocations of an alias fail, which the sheaves of the group would
// otherwise serve. Allocations without a sequence of their own test closed.
func (c *Cache) rejectAllocs() {
	refuse := func() (unsafe.Pointer, error) { return nil, c.failClosed() }
	for _, pop := range []*percpu.Pop{&c.pop, &c.popRaw, &c.noWait} {
		pop.SetSlowOnly(refuse)
	}
	c.ops().byNode.SetSlowOnly(c.allocNode)
}

// failClosed counts a failed allocation from a closed cache and returns its error.
func (c *Cache) failClosed() error {
	return c.failed(ErrClosed)
}
