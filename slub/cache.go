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

	freeRCU percpu.Free
	*shared
	stacks percpu.Slots

	id     uint32
	config *Config
	layout layout

	closing sync.Mutex
	closed  atomic.Bool // to allocations
	gone    bool        // closed without a leak; under closing

	noWait percpu.Pop // for AllocNoWait

	_ [16]byte // up to 384, a multiple of a cache line and a size class of Go's
}

var _ = [1]struct{}{}[unsafe.Sizeof(Cache{})-384|unsafe.Offsetof(Cache{}.free)-mem.CacheLine|
	unsafe.Offsetof(Cache{}.freeRCU)-3*mem.CacheLine]

// New makes a cache whose slabs come from a, or from arena.Default if a is nil.
//
// Errors: ErrConfig, joined for all problems of cfg; ErrNoMemory when the kernel
// refuses the bookkeeping's memory; arena.Default's.
func New(a *arena.Arena, cfg Config) (*Cache, error) { return newCache(a, cfg, seat{}) }

// A seat is what Buckets have set aside for one of their caches; zero for other caches.
type seat struct {
	id      uint32 // a number of the registry's
	stacks  percpu.Slots
	backlog *backlog // of all their caches
}

// newCache is New for both. If it fails the seat is the caller's still.
func newCache(a *arena.Arena, cfg Config, seat seat) (*Cache, error) {
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
	if topology.NodeCount() > maxNodes {
		return nil, fmt.Errorf("slub: %d nodes, more than the %d that an owner has room for", topology.NodeCount(), maxNodes)
	}
	if cfg.Domain == nil {
		cfg.Domain = DefaultDomain()
	}
	cfg.Name = cfg.name()
	if seat.id == 0 {
		if c := caches.alias(a, cfg); c != nil {
			return c, nil
		}
	}
	c := &Cache{name: cfg.Name, id: seat.id, stacks: seat.stacks, config: &cfg, layout: cfg.layout(), domain: cfg.Domain}
	c.shared = &shared{members: []*Cache{c}, backlog: seat.backlog}
	if cfg.mergeable() {
		c.layout.size = c.layout.slot // an alias's objects may be larger by less than a word
	}
	order := cfg.Slabs.order(c.layout.slot, percpu.NumCPU())
	if order < 0 {
		return nil, c.badArgument("Config.Size", "%d, with alignment and link %d, does not fit the largest slab of %d bytes", cfg.Size, c.layout.slot, mem.PageSize<<arena.MaxOrder)
	}
	if err := caches.reserve(c); err != nil {
		return nil, err
	}
	if err := c.build(a, order); err != nil {
		caches.forgo(c, seat.id == 0)
		return nil, fmt.Errorf("slub: cache %q: %w: %w", c.name, ErrNoMemory, err)
	}
	caches.publish(c)
	armSweep()
	return c, nil
}

// build makes the floors and joins them.
func (c *Cache) build(a *arena.Arena, order int) error {
	slabs, err := newLayer(a, c.layout.slot, c.layout.fp, order, c.id)
	if err != nil {
		return err
	}
	c.slabs = slabs
	slabs.newSlab, slabs.corrupt, slabs.twice = c.initSlab(), c.reportCorrupt, c.reportTwice
	slabs.keep.Store(int64(slabs.minPartial(c.config.MinPartial)))
	if c.config.Flags&TypesafeByRCU != 0 {
		slabs.deferPages = c.domain.Defer
	}
	slabs.zeroed = c.config.Flags&InitOnFree != 0
	c.perSlab = int(mem.PageSize << order / c.layout.slot)
	if c.config.Flags&ShuffleFreelist != 0 {
		slabs.shuffle = shuffled(c.perSlab)
	}

	if c.backlog == nil {
		sheaf := c.layout.slot * uintptr(sheaves.Capacity(c.layout.slot, c.config.SheafCapacity))
		c.backlog = c.config.rcuLimits().newBacklog(a, c.domain, sheaf)
		c.backlog.name, c.backlog.id = func() string { return c.eldest().name }, c.id
	}
	if err := c.buildStacks(a.Topology()); err != nil {
		_ = slabs.counters.Forget() // as in forget
		return err
	}
	c.initQueue()
	filter := percpu.NewFilter(a.Base(), uintptr(a.Pages()), a.Owners(), c.layout.slot, c.perSlab, order)
	if c.wrapped() {
		filter = filter.Nothing()
	}
	c.operate(filter)
	return nil
}

// operate sets the operations up.
func (c *Cache) operate(filter percpu.Filter) {
	c.bare.Init(c.stacks, percpu.Main, c.allocSlow)
	if c.wrapped() {
		c.pop.Pass(c.allocWrapped)
	} else {
		c.pop.Init(c.stacks, percpu.Main, c.allocSlow)
	}
	c.noWait.Init(c.stacks, percpu.Main, c.allocNoWaitSlow)
	c.free.Init(filter.Serve(c.stacks, percpu.Main), c.freeSlow)
	c.freeRCU.Init(filter.Serve(c.stacks, percpu.RCU), c.freeRCUSlow)
}

// buildStacks makes the per-CPU stacks, unless Buckets have, and the sheaves. Without
// sheaves the stacks stay zeroed, so that every operation falls through.
func (c *Cache) buildStacks(topology *numa.Topology) (err error) {
	c.nodeOf = make([]int, percpu.NumCPU())
	for cpu := range c.nodeOf {
		c.nodeOf[cpu] = max(0, topology.Index(topology.LocalNode(cpu)))
	}
	fresh := c.stacks == percpu.Slots{}
	if fresh {
		if c.stacks, err = percpu.NewSlots(); err != nil {
			return err
		}
	}
	if c.config.Flags&NoSheaves == 0 {
		if err = c.buildSheaves(topology); err != nil && fresh {
			_ = c.stacks.Forget() // as in forget
		}
	}
	return err
}

func (c *Cache) buildSheaves(topology *numa.Topology) error {
	capacity := sheaves.Capacity(c.layout.slot, c.config.SheafCapacity)
	set, err := sheaves.New(sheaves.Config{
		Slots:     c.stacks,
		Own:       func(node int) uint32 { return uint32(ownerOf(c.id, node)) },
		NodeOfCPU: func(cpu int) int { return c.nodeOf[cpu] },
		Nodes:     topology.NodeCount(),
		NodeOf:    func(obj unsafe.Pointer) int { return c.slabs.arena.NodeIndex(uintptr(obj)) },
		Source:    source{c},
		Domain:    c.domain,
		Capacity:  capacity,
		MaxFull:   c.config.BarnFull, MaxEmpty: c.config.BarnEmpty,
		MaxWaiting: c.maxWaiting(capacity),
		Backlog:    c.backlog.Backlog, ObjectSize: c.layout.slot,
		Delay: c.config.RCUDelay,
	})
	c.sheaves = set
	return err
}

// initSlab returns what prepares a new slab: constructors, then the hook. Where Alloc
// writes to objects their pages are touched now, and not in an AllocNoWait.
func (c *Cache) initSlab() func(slabRef) {
	ctor, hook := c.config.Ctor, c.config.Hooks.NewSlab
	touch := c.config.Flags&(InitOnAlloc|InitOnFree) != 0
	if ctor == nil && hook == nil && !touch {
		return nil
	}
	return func(s slabRef) {
		for off := uintptr(0); touch && off < s.bytes(); off += mem.PageSize {
			*mem.At[byte](s.addr + off) = 0
		}
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
