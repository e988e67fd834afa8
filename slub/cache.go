package slub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
)

// A Cache hands out objects of one size (kernel: struct kmem_cache). All methods
// may be called by any goroutine at any time, but for Close, which must come after
// the last use.
type Cache struct {
	// What Alloc, Free and FreeRCU read, constant after New: a cache line each.
	pop  percpu.Pop
	bare percpu.Pop // pop without hooks
	name string
	free percpu.Free

	slabs   *layer
	sheaves *sheaves.Set // nil without
	nodeOf  []int        // index of the node that a CPU allocates on
	domain  *rcu.Domain
	perSlab int

	freeRCU  percpu.Free
	deferred deferred // objects for FreeRCU that found no sheaf

	id     uint32
	config Config
	layout layout

	closing sync.Mutex
	gone    bool // closed without a leak; under closing
	closed  atomic.Bool

	_ [40]byte // up to 576, a size class of Go's whose objects start on a cache line
}

var _ = [1]struct{}{}[unsafe.Sizeof(Cache{})-576|unsafe.Offsetof(Cache{}.free)-mem.CacheLine|
	unsafe.Offsetof(Cache{}.freeRCU)-3*mem.CacheLine]

// New makes a cache whose slabs come from a, or from arena.Default if a is nil.
//
// Errors: ErrConfig, joined for all problems of cfg; ErrNoMemory when the kernel
// refuses the bookkeeping's memory; arena.Default's.
func New(a *arena.Arena, cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if a == nil {
		var err error
		if a, err = arena.Default(); err != nil {
			return nil, err
		}
	}
	topology := a.Topology()
	if topology.NodeCount() > 1<<nodeBits {
		return nil, fmt.Errorf("slub: %d nodes, more than the %d that owner words have room for", topology.NodeCount(), 1<<nodeBits)
	}
	c := &Cache{name: cfg.Name, config: cfg, layout: cfg.layout(), domain: cfg.Domain}
	if c.name == "" {
		c.name = fmt.Sprintf("size-%d", cfg.Size)
	}
	if c.domain == nil {
		c.domain = DefaultDomain()
	}
	order := slabOrder(c.layout.slot, percpu.NumCPU())
	if order < 0 {
		return nil, fmt.Errorf("%w: objects of %d bytes, aligned and linked, don't fit the largest run of %d", ErrConfig, c.layout.slot, mem.PageSize<<arena.MaxOrder)
	}
	if err := caches.reserve(c); err != nil {
		return nil, err
	}
	if err := c.build(a, order); err != nil {
		caches.remove(c)
		return nil, fmt.Errorf("slub: cache %q: %w: %w", c.name, ErrNoMemory, err)
	}
	caches.publish(c)
	return c, nil
}

// build makes the floors and joins them.
func (c *Cache) build(a *arena.Arena, order int) error {
	slabs, err := newLayer(a, c.layout.slot, c.layout.fp, order, c.id<<nodeBits)
	if err != nil {
		return err
	}
	c.slabs = slabs
	slabs.newSlab, slabs.corrupt = c.initSlab(), c.reportCorrupt
	slabs.zeroed = c.config.Flags&InitOnFree != 0
	c.perSlab = int(mem.PageSize << order / c.layout.slot)

	stacks, err := c.buildSheaves(a.Topology())
	if err != nil {
		return err
	}
	filter := percpu.NewFilter(a.Base(), uintptr(a.Pages()), a.Owners(), c.layout.slot, c.perSlab, order)
	if c.wrapped() {
		filter = filter.Nothing()
	}
	c.bare.Init(stacks, percpu.Main, c.allocSlow)
	if c.wrapped() {
		c.pop.Pass(c.allocWrapped)
	} else {
		c.pop.Init(stacks, percpu.Main, c.allocSlow)
	}
	c.free.Init(filter.Serve(stacks, percpu.Main), c.freeSlow)
	c.freeRCU.Init(filter.Serve(stacks, percpu.RCU), c.freeRCUSlow)
	return nil
}

// buildSheaves makes the per-CPU sheaves and the operations on them. Without
// sheaves the stacks stay zeroed, so that every operation falls through.
func (c *Cache) buildSheaves(topology *numa.Topology) (percpu.Slots, error) {
	c.nodeOf = make([]int, percpu.NumCPU())
	for cpu := range c.nodeOf {
		c.nodeOf[cpu] = max(0, topology.Index(topology.LocalNode(cpu)))
	}
	if c.config.Flags&NoSheaves != 0 {
		return percpu.NewSlots()
	}
	capacity := sheaves.Capacity(c.layout.slot, c.config.SheafCapacity)
	set, err := sheaves.New(sheaves.Config{
		Own:       func(node int) uint32 { return c.id<<nodeBits | uint32(node) },
		NodeOfCPU: func(cpu int) int { return c.nodeOf[cpu] },
		Nodes:     topology.NodeCount(),
		NodeOf:    func(obj unsafe.Pointer) int { return c.slabs.arena.NodeIndex(uintptr(obj)) },
		Source:    source{c},
		Domain:    c.domain,
		Capacity:  capacity,
		MaxFull:   c.config.BarnFull, MaxEmpty: c.config.BarnEmpty,
		MaxWaiting: c.maxWaiting(capacity),
		Delay:      c.config.RCUDelay,
	})
	if err != nil {
		return percpu.Slots{}, err
	}
	c.sheaves = set
	return set.Slots(), nil
}

// initSlab returns what prepares a new slab: constructors, then the hook.
func (c *Cache) initSlab() func(slabRef) {
	ctor, hook := c.config.Ctor, c.config.Hooks.NewSlab
	if ctor == nil && hook == nil {
		return nil
	}
	return func(s slabRef) {
		for i := range s.objects {
			if ctor != nil {
				ctor(mem.Ptr(c.slabs.object(s, i)))
			}
		}
		if hook != nil {
			hook(hooks.Slab{Cache: c.name, Addr: s.addr, Bytes: s.bytes(), Objects: int(s.objects), Node: int(c.nodeAt(s.node))})
		}
	}
}

// nodeAt is the node with the given index.
func (c *Cache) nodeAt(index uint8) numa.Node { return c.slabs.topology.Nodes()[index] }

// Name returns the cache's name, unique among the open caches.
func (c *Cache) Name() string { return c.name }

// Arena returns the arena of the cache's slabs.
func (c *Cache) Arena() *arena.Arena { return c.slabs.arena }

// Domain returns the domain whose grace periods FreeRCU waits for.
func (c *Cache) Domain() *rcu.Domain { return c.domain }
