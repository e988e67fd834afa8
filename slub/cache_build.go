package slub

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/failslab"
	"github.com/slubd/slubd/slub/internal/guard"
	"github.com/slubd/slubd/slub/internal/sampling"
	"github.com/slubd/slubd/slub/internal/slab"
)

// build makes the slabs, the sheaves and the operations.
func (c *Cache) build(a *arena.Arena, order int) error {
	counters, err := percpu.NewCounters(int(numCounters))
	if err != nil {
		return err
	}
	c.counters = counters
	c.sampler = newSampler(c.config.ProfileRate, c.guardable(),
		sampling.Labels{Cache: c.name, Group: c.config.Group.label(), Tag: c.config.Tag, Size: c.config.Size})
	slabs, err := c.slabConfig(a, order)
	if err == nil {
		c.slabs, err = slab.New(slabs)
	}
	if err != nil {
		_ = c.counters.Free() // as in freeMetadata
		return err
	}
	c.perSlab = int(mem.PageSize << order / c.layout.slot)

	if c.backlog == nil {
		c.backlog = c.config.rcuLimits().newBacklog(a, c.domain)
		c.backlog.name, c.backlog.id = func() string { return c.primary().name }, c.id
	}
	if err := c.buildStacks(a.Topology()); err != nil {
		_ = c.counters.Free() // as in freeMetadata
		c.slabs.FreeCounters()
		c.counters.Recycle() // nothing has seen them
		return err
	}
	c.initQueue()
	filter := percpu.NewFilter(a.Base(), uintptr(a.Pages()), a.Owners(), c.layout.slot, c.perSlab, order)
	if c.debug() != nil {
		filter = filter.RejectAll() // its objects don't begin with their slots
	}
	if c.marks != nil {
		c.marks.init(c, filter)
	}
	if c.alwaysInstrumented() && !c.onlyClears() {
		filter = filter.RejectAll()
	}
	c.operate(filter)
	if c.guards() {
		guard.Join(a)
	}
	return nil
}

// operate initializes the operations. The filter of freeRCU knows all objects of the cache. That of
// free knows those that a sheaf may take as they are, unless a hook has to see them.
func (c *Cache) operate(filter percpu.Filter) {
	atomic.StorePointer(&c.nodeOps, unsafe.Pointer(c.noNodeOps()))
	c.popRaw.Init(c.stacks, percpu.Main, c.allocSlow)
	c.noWait.Init(c.stacks, percpu.Main, c.allocNoWaitSlow)
	c.freeRCU.Init(filter.ForStacks(c.stacks, percpu.RCU), c.freeRCUSlow)
	if c.onlyMarks() {
		c.freeRCU.SetSlowOnly(c.freeRCUMarked)
	}
	c.makeOps(&c.pop, &c.free, c.hooking.now.Load())
	c.free.Filter = filter.ForStacks(c.stacks, percpu.Main)
	if c.onlyClears() {
		c.free.Filter = c.free.RejectAll() // a Prefilled takes no object that would need clearing
	}
}

// makeOps makes Alloc and Free of a cache with the given hooks.
func (c *Cache) makeOps(pop *percpu.Pop, free *percpu.Free, h *hookSet) {
	switch {
	case c.debug() != nil:
		pop.SetSlowOnly(c.allocInstrumented)
		free.SetSlowOnly(c.freeDebug)
		return
	case c.onlyMarks() && h.each, c.alwaysInstrumented() && !c.onlyMarks() && !c.onlyClears():
		pop.SetSlowOnly(c.allocInstrumented)
		free.SetSlowOnly(c.freeInGo)
		return
	case c.onlyMarks():
		pop.SetSlowOnly(c.allocMarked)
		free.SetSlowOnly(c.freeMarked)
		if c.sequencesMark() {
			c.operateHardened(pop, free)
		}
		return
	case c.onlyClears():
		c.operateClearing(pop, free)
	default:
		pop.Init(c.stacks, percpu.Main, c.allocSlow)
		free.Init(c.freeRCU.ForStacks(c.stacks, percpu.Main), c.freeSlow)
	}
	switch {
	case h.Alloc != nil && c.onlyClears():
		pop.SetSlowOnly(c.allocInstrumented)
	case h.Alloc != nil:
		pop.SetSlowOnly(c.newHookedAlloc())
	}
	if h.Free != nil {
		free.SetSlowOnly(c.newHookedFree())
	}
}

// buildStacks makes the per-CPU stacks, unless Buckets have made them, and the sheaves. Without
// sheaves the stacks stay zeroed, so that every operation takes the slow path.
func (c *Cache) buildStacks(topology *numa.Topology) (err error) {
	c.nodes = nodesOf(topology)
	c.nodeOf = c.nodes.NodeOf
	fresh := c.stacks == percpu.Slots{}
	if fresh {
		if c.stacks, err = percpu.NewSlots(); err != nil {
			return err
		}
	}
	if c.config.Flags&NoSheaves == 0 {
		if err = c.buildSheaves(topology); err != nil && fresh {
			_ = c.stacks.Free() // as in freeMetadata
			c.stacks.Recycle()
		}
	}
	return err
}

// buildSheaves makes the sheaves.
func (c *Cache) buildSheaves(topology *numa.Topology) error {
	capacity := sheaves.Capacity(c.layout.slot, c.config.SheafCapacity)
	owners := make([]uint32, topology.NodeCount())
	for node := range owners {
		owners[node] = uint32(owner.Of(c.id, node))
	}
	cfg := sheaves.Config{
		Source:     source{c},
		Domain:     c.domain,
		ObjectSize: c.layout.slot,
		Capacity:   capacity,
		Nodes:      len(owners),
		CPUNodes:   (*sheaves.CPUNodes)(c.nodes),
		Others:     otherNodes(topology),
		Delay:      c.config.RCUDelay,
		MaxFull:    barnLimit(c.config.BarnFull),
		MaxEmpty:   barnLimit(c.config.BarnEmpty),
		MaxWaiting: c.maxWaiting(capacity),
		Backlog:    c.backlog.Backlog,
		Slots:      sheaves.Slots(c.stacks),
		Owners:     owners,
		NodeMemory: (*sheaves.NodeMemory)(c.slabs.Arena().NodeMemory()),
	}
	c.sampleSheaves(&cfg)
	set, err := sheaves.New(cfg)
	c.sheaves = set
	return err
}

// cpuNodes has the nodes of the CPUs by the topology of the cache that was built last. Most
// programs have one topology, whose caches so have one table, and learn of an added CPU once.
var cpuNodes struct {
	mu       sync.Mutex
	topology *numa.Topology
	nodes    *percpu.Nodes
}

// nodesOf returns the index of the node that each CPU allocates on. A CPU that no node lists, since
// it is not there yet, allocates on the nearest node with memory of the one that the kernel names
// when it is used first, and if the topology doesn't have that node, on the first with memory.
func nodesOf(t *numa.Topology) *percpu.Nodes {
	cpuNodes.mu.Lock()
	defer cpuNodes.mu.Unlock()
	if cpuNodes.topology == t {
		return cpuNodes.nodes
	}
	local := func(node numa.Node) int { return t.Index(t.Fallback(node)[0]) }
	of := slices.Repeat([]int{-1}, percpu.NumCPU())
	for cpu := range of {
		if node := t.NodeOf(cpu); node != numa.NoNode {
			of[cpu] = local(node)
		}
	}
	nodes := t.Nodes()
	byNode := slices.Repeat([]int{-1}, int(nodes[len(nodes)-1])+1)
	for _, node := range nodes {
		byNode[node] = local(node)
	}
	cpuNodes.topology, cpuNodes.nodes = t, percpu.NewNodes(of, byNode, local(numa.NoNode))
	return cpuNodes.nodes
}

// otherNodes returns for each node the others with memory, the nearest first, all by index.
func otherNodes(topology *numa.Topology) [][]int {
	others := make([][]int, topology.NodeCount())
	for i, node := range topology.Nodes() {
		for _, other := range topology.Fallback(node) {
			if other != node {
				others[i] = append(others[i], topology.Index(other))
			}
		}
	}
	return others
}

// slabConfig is the config of the cache's slabs. The error is that of a table for marks.
func (c *Cache) slabConfig(a *arena.Arena, order int) (slab.Config, error) {
	cfg := slab.Config{
		Arena: a, ID: c.id, Size: c.layout.slot, FreePtr: c.layout.fp, Order: order, Single: c.single,
		MinPartial:        c.config.MinPartial,
		RemoteDefragRatio: c.config.RemoteDefragRatio,
		Shuffle:           c.config.Flags&ShuffleFreelist != 0,
		Zero:              c.config.Flags&InitOnFree != 0,
		Counters: slab.Counters{Cells: c.counters,
			AllocSlab: int(AllocSlab), FreeSlab: int(FreeSlab),
			FreeAddPartial: int(FreeAddPartial), FreeRemovePartial: int(FreeRemovePartial),
			OrderFallback: int(OrderFallback), CmpxchgDoubleFail: int(CmpxchgDoubleFail)},
		OnGrow: func() { c.delay(failslab.NewSlab) }, OnNewSlab: c.onNewSlab(), OnCorrupt: c.reportCorrupt, OnDoubleFree: c.reportTwice,
		OnDamage: c.reportDamage,
	}
	if g := c.config.Group; g != nil {
		cfg.Charge, cfg.Uncharge, cfg.NearLimit = g.charge, g.uncharge, g.nearLimit
	}
	if c.sampler != nil {
		cfg.OnAloneFreed = samples.Remove
	}
	if c.guards() {
		cfg.OnGuardedFreed, cfg.ReleaseGuarded = c.guardedFreed, guard.ReleasePage
	}
	if c.config.Flags&TypesafeByRCU != 0 {
		cfg.AfterGracePeriod, cfg.Backlog = c.domain.Defer, retiredBacklog{c}
	}
	if c.marks == nil {
		return cfg, nil
	}
	if c.marks.hardened {
		cfg.FenceEvery = fenceEvery
		if c.config.Flags&InitOnFree != 0 && !sanitized { // a sanitizer finds the write itself
			cfg.Inspect = c.inspectCleared
		}
	}
	if d := c.marks.debug; d != nil {
		cfg.Lead = d.layout.Left
	}
	var err error
	if c.marks.hasExts() {
		cfg.Exts, err = companionOf(a).exts.For(a, c.layout.slot)
	}
	// Beside Exts the table is for the call stacks of frees.
	if err == nil && (checked || c.marks.debug != nil || c.marks.hardened && !c.marks.hasExts()) {
		cfg.Marks, err = companionOf(a).marks.For(a, c.layout.slot)
	}
	return cfg, err
}

// onNewSlab returns what prepares a new slab: it runs the constructor on every object, then calls
// the hook. Where Alloc writes to objects it also touches their pages, so that AllocNoWait causes
// no page fault.
func (c *Cache) onNewSlab() func(slab.Ref) {
	ctor := c.config.Ctor
	touch := c.config.Flags&(InitOnAlloc|InitOnFree) != 0
	debugged := c.debug() != nil
	return func(s slab.Ref) {
		for off := uintptr(0); touch && off < s.Bytes(); off += mem.PageSize {
			*mem.At[byte](c.slabs.Addr(s) + off) = 0
		}
		if debugged {
			c.initDebug(s)
		}
		if ctor != nil {
			for i := range uint32(s.Objects()) {
				callback.Run(ctor, mem.Ptr(c.slabs.Object(s, i)))
			}
		}
		if h := c.hooking.now.Load(); h.NewSlab != nil {
			callback.Run(h.NewSlab, hooks.Slab{
				Cache: c.name, Addr: c.slabs.Addr(s), Bytes: int64(s.Bytes()), Objects: s.Objects(), Node: c.nodeAt(s.Node()),
			})
			runtime.KeepAlive(h)
		}
		if debugged {
			c.markPoisoned(s)
		}
	}
}
