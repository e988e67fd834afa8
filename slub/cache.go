package slub

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/slab"
)

// A Cache allocates objects of one size (kernel: struct kmem_cache). Any goroutine may call all
// methods at any time, except that Close comes after the last use.
type Cache struct {
	// What Alloc, Free and FreeRCU read is constant after New, and has a cache line each.
	pop    percpu.Pop
	popRaw percpu.Pop // pop without hooks
	name   string
	free   percpu.Free

	slabs   *slab.Slabs
	sheaves *sheaves.Set // nil with NoSheaves
	nodeOf  percpu.NodeOf
	domain  *rcu.Domain
	perSlab int // objects in a slab of the preferred order

	freeRCU percpu.Free
	*shared
	stacks percpu.Slots

	id     uint32
	single bool     // a page class: each object has a slab of its own
	marks  *marking // nil in most caches; see there
	config *Config
	layout layout

	closeMu  sync.Mutex
	closed   closeFlag // allocations from this Cache fail
	finished bool      // closed without a leak; under closeMu

	noWait percpu.Pop // for AllocNoWait

	// AllocNode or the free of an object of another node makes its sequences. With them the size
	// is 384, a multiple of a cache line and a size class of Go's.
	nodeOps unsafe.Pointer // *nodeOps; see ops
}

var _ = [1]struct{}{}[unsafe.Sizeof(Cache{})-384|unsafe.Offsetof(Cache{}.free)-mem.CacheLine|
	unsafe.Offsetof(Cache{}.freeRCU)-3*mem.CacheLine]

// ops returns the operations for nodes. AllocNode loads the word as any other: it would not be
// inlined otherwise. The word changes once, to operations that are complete, and what a processor
// loads through it is as recent as the word. In builds with the race detector it never changes.
func (c *Cache) ops() *nodeOps { return (*nodeOps)(atomic.LoadPointer(&c.nodeOps)) }

// nodeAt returns the node with the given index.
func (c *Cache) nodeAt(index int) numa.Node { return c.Arena().Topology().Nodes()[index] }

// count adds n to a counter.
func (c *Cache) count(e Event, n int) {
	c.counters.Add(int(e), uint64(n))
	runtime.KeepAlive(c) // see lease
}

// failed counts a failed allocation, and returns its error.
func (c *Cache) failed(err error) error {
	c.failures.count(err)
	c.count(allocFailed, 1)
	return err
}

// Name returns the cache's name, which is unique among the open caches.
func (c *Cache) Name() string { return c.name }

// Arena returns the arena of the cache's slabs.
func (c *Cache) Arena() *arena.Arena { return c.slabs.Arena() }

// Buckets returns the Buckets of which the cache is a size class, or nil. Any goroutine.
func (c *Cache) Buckets() *Buckets { return c.buckets.Load() }

// Domain returns the domain whose grace periods FreeRCU waits for.
func (c *Cache) Domain() *rcu.Domain { return c.domain }
