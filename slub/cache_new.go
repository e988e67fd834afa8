package slub

import (
	"fmt"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// New makes a cache whose slabs come from a, or from arena.Default if a is nil. A cache that
// shares its slabs with an open one (see Merge) takes no memory; others take some KiB per CPU
// and the first slab at the first Alloc. Any goroutine.
//
// Errors: ErrConfig, joined for all problems of cfg; ErrNoMemory if the kernel refuses memory for
// the cache's bookkeeping; arena.Default's. (Kernel: kmem_cache_create.)
func New(a *arena.Arena, cfg Config) (*Cache, error) { return newCache(a, cfg, reservation{}) }

// A reservation is what Buckets reserve for one of their caches before it is made. It is zero for
// other caches.
type reservation struct {
	id      uint32 // the cache's number
	stacks  percpu.Slots
	backlog *sharedBacklog // of all their caches
	lease   *lease         // of all their caches
	single  bool           // its slabs have one object each
	// accounted says that Accounts allocate from it.
	accounted bool
	hooks     *hookSet // of the Buckets
}

// newCache is New with a reservation. If it fails the caller still owns what is reserved.
func newCache(a *arena.Arena, cfg Config, reserved reservation) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if a == nil {
		var err error
		if a, err = arena.Default(); err != nil {
			return nil, err
		}
	}
	if engine, reason := Engine(); reason != "" {
		a.LogHost("slubd: the per-CPU engine is not the fastest one", "engine", engine, "reason", reason)
	}
	topology := a.Topology()
	if topology.NodeCount() > owner.MaxNodes {
		return nil, fmt.Errorf("slub: %d nodes, more than the %d that an owner has room for", topology.NodeCount(), owner.MaxNodes)
	}
	if cfg.Domain == nil {
		cfg.Domain = DefaultDomain()
	}
	cfg.Name = cfg.name()
	cfg.Flags |= cfg.impliedFlags()
	implied := cfg.Debug == "" && cfg.Flags&NoSheaves == 0
	if cfg.debugFlags() != 0 {
		cfg.Flags |= NoSheaves
	}
	if reserved.id == 0 {
		if c := caches.alias(a, cfg); c != nil {
			return c, nil
		}
	}
	c := &Cache{name: cfg.Name, id: reserved.id, single: reserved.single, stacks: reserved.stacks, config: &cfg,
		layout: cfg.layout(), domain: cfg.Domain, marks: newMarking(cfg, reserved)}
	if d := c.debug(); d != nil {
		d.implied = implied
	}
	c.shared = &shared{members: []*Cache{c}, backlog: reserved.backlog, lease: reserved.lease}
	if reserved.hooks == nil {
		reserved.hooks = newHookSet(cfg.Hooks)
	}
	c.hooking.now.Store(reserved.hooks)
	c.ofBuckets = reserved.id != 0 // pairs with publish: a SetHooks that finds the cache sees it
	if cfg.mergeable() {
		c.layout.size = c.layout.slot // an alias's objects may be up to 7 bytes larger
	}
	order := cfg.Slabs.order(c.layout.slot, percpu.CountedCPUs())
	if order < 0 {
		return nil, c.argumentError("Config.Size", "%d, with alignment and link %d, does not fit the largest slab of %d bytes",
			cfg.Size, c.layout.slot, mem.PageSize<<arena.MaxOrder)
	}
	if err := caches.reserve(c); err != nil {
		return nil, err
	}
	if !cfg.Group.admit() {
		caches.unreserve(c, reserved.id == 0)
		return nil, cfg.Group.closedError("cache", c.name, "Config")
	}
	if err := c.build(a, order); err != nil {
		cfg.Group.dismiss()
		caches.unreserve(c, reserved.id == 0)
		return nil, fmt.Errorf("slub: cache %q: %w: %w", c.name, ErrNoMemory, err)
	}
	if c.lease == nil {
		c.lease = &lease{first: c.id, n: 1, slots: []percpu.Slots{c.stacks}}
	}
	c.reclaimer = a.AddReclaimer(c.giveBack)
	c.member = &groupMember{cache: c, giveBack: c.giveBack}
	cfg.Group.join(c.member)
	caches.publish(c)
	armSweep()
	return c, nil
}
