package slab

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/percpu"
)

// FreePtrSize is the size of a free object's link in bytes.
const FreePtrSize = 8

// Config says what a Slabs cuts up, and how.
type Config struct {
	Arena *arena.Arena
	ID    uint32  // the cache's number, for the owner words of pages
	Size  uintptr // bytes from one object to the next, a multiple of 8
	// Lead is how many bytes of a slab lie in front of its first object: a multiple of 8. They are
	// a part of Size, so the last object has that much less behind it. It is 0 in a cache that
	// guards objects, or has Single ones or Exts.
	Lead uintptr
	// FreePtr is where a free object keeps its link, in bytes from its start: a multiple of 8,
	// with FreePtrSize bytes up to Size.
	FreePtr uintptr
	Order   int // preferred order of a slab; one object must fit
	// Single makes slabs of one object each, of whole pages: they take its pages of a block of
	// Order, and no more (but see arena.RunPages). Such an object has a mark; see SetInUse.
	Single bool
	// Marks is the table for the marks of objects of that Size, or nil.
	Marks *MarkTable
	// Exts is the table for what is kept beside objects of that Size, or nil. It has their marks.
	Exts *ExtTable
	// MinPartial is described with SetMinPartial.
	MinPartial int
	// RemoteDefragRatio is described with SetRemoteDefragRatio.
	RemoteDefragRatio int
	// Shuffle hands out the objects of a new slab in a random order.
	Shuffle bool
	// FenceEvery puts a page without access behind each slab of that many, where the kernel and the
	// arena allow it; 0 behind none. See fence.go.
	FenceEvery int
	// Inspect is asked about each object of an empty slab that goes back to the arena, or is
	// retired. It returns what was written to the object since it was freed, "" for nothing. No
	// lock is held. nil asks nothing.
	Inspect func(obj uintptr) (found string)
	// Zero clears new slabs whose pages aren't zero, for a cache that keeps free objects cleared.
	Zero bool

	Counters Counters

	// OnGrow is called before pages are allocated for a slab, under no lock. It may be nil.
	OnGrow func()
	// OnNewSlab prepares a new slab before any of its objects is out; nil does nothing.
	OnNewSlab func(Ref)
	// OnCorrupt is told of an object whose free pointer leads out of its slab, which starts at
	// the address slab. The objects behind it in the chain are lost, and count as in use.
	OnCorrupt func(obj, slab uintptr)
	// OnDoubleFree is told of an object that is freed though it was the last one freed, or lies in
	// a slab whose objects are all free. The second free does nothing.
	OnDoubleFree func(obj, slab uintptr)
	// OnDamage is told of a slab that is isolated, of an object that is freed after its slab has
	// gone back to the arena, and of what was written beside a guarded object.
	OnDamage func(Damage)
	// OnAloneFreed is told of each object that TakeAlone has returned, when it is freed, before its
	// pages go back to the arena. No lock is held. It may be nil.
	OnAloneFreed func(obj uintptr)
	// OnGuardedFreed is told of each object that TakeGuarded has returned, when it is freed, after
	// OnAloneFreed. found says what was written beside the object, "" for nothing, and history
	// where it was allocated and freed. ReleaseGuarded takes the address of the object's page when
	// the page is no slab any more. Both are nil in a cache that doesn't call TakeGuarded.
	OnGuardedFreed func(obj uintptr) (found, history string)
	ReleaseGuarded func(page uintptr)
	// Charge is asked before a run of that many bytes is taken from the arena, for a slab that the
	// cache's owner has to answer for. If it returns an error, no run is taken, and Take returns
	// the error. Uncharge is called once the arena has the run back, or could not give it. Both are
	// nil, or neither. NearLimit reports whether Charge will soon return an error; it may be nil.
	Charge    func(bytes int64) error
	Uncharge  func(bytes int64)
	NearLimit func() bool
	// AfterGracePeriod calls f once no reader can look at what was freed before the call. The
	// pages of empty slabs go back to the arena then; until then the slabs are retired. nil lets
	// them go at once. It must not wait. Backlog is told of retired slabs; it may be nil.
	AfterGracePeriod func(f func())
	Backlog          Backlog
}

// Counters are the cells in which a Slabs counts its events, by the kernel's names of the events.
type Counters struct {
	Cells percpu.Counters
	// These are indices into Cells.
	AllocSlab, FreeSlab, FreeAddPartial, FreeRemovePartial, OrderFallback, CmpxchgDoubleFail int
}

// New returns a Slabs without slabs. Off-heap it allocates cells of per-CPU memory, which
// FreeCounters gives back. The error is sys.Reserve's.
func New(cfg Config) (*Slabs, error) {
	topology := cfg.Arena.Topology()
	free, err := newFreeCounts(topology.NodeCount())
	if err != nil {
		return nil, err
	}
	s := &Slabs{
		arena: cfg.Arena, base: cfg.Arena.Base(), counters: cfg.Counters, free: free,
		size: cfg.Size, magic: math.MaxUint64/uint64(cfg.Size) + 1, lead: cfg.Lead, fp: cfg.FreePtr, order: cfg.Order, single: cfg.Single,
		id: cfg.ID, zero: cfg.Zero, marks: cfg.Marks, exts: cfg.Exts, fenceEvery: uint32(cfg.FenceEvery), inspect: cfg.Inspect,
		secret: rand.Uint64(),
		onGrow: cfg.OnGrow, onNewSlab: cfg.OnNewSlab, onCorrupt: cfg.OnCorrupt, onDoubleFree: cfg.OnDoubleFree,
		onDamage: cfg.OnDamage, onAloneFreed: cfg.OnAloneFreed,
		onGuardedFreed: cfg.OnGuardedFreed, releaseGuarded: cfg.ReleaseGuarded,
		afterGracePeriod: cfg.AfterGracePeriod, backlog: cfg.Backlog,
		charge: cfg.Charge, uncharge: cfg.Uncharge, nearLimit: cfg.NearLimit,
	}
	s.SetMinPartial(cfg.MinPartial)
	s.SetRemoteDefragRatio(cfg.RemoteDefragRatio)
	if cfg.Shuffle {
		s.shuffle, s.unshuffle = shuffled(int(mem.PageSize << cfg.Order / cfg.Size))
	}
	nodes := topology.Nodes()
	s.nodes, s.fallbackNodes = make([]node, len(nodes)), make([][]int, len(nodes))
	words := nodemem.Make[nodeWords](cfg.Arena.NodeMemory(), len(nodes), &s.nodes[0])
	for i, from := range nodes {
		n := &s.nodes[i]
		n.nodeWords = words[i]
		n.reclaim = func() { s.reclaimRetired(n) }
		for _, to := range topology.Fallback(from) {
			if j := topology.Index(to); j != i {
				s.fallbackNodes[i] = append(s.fallbackNodes[i], j)
			}
		}
	}
	return s, nil
}

// FreeCounters frees the counts of free objects, which read 0 from then on. It is called once, for
// Slabs without slabs. Their cells are used again when nothing refers to s any more.
func (s *Slabs) FreeCounters() {
	s.free.release()
	runtime.AddCleanup(s, freeCounts.recycle, s.free)
}

// SetMinPartial sets how many partial slabs a node must have for a slab that becomes empty to go
// back to the arena: n; 0 for the automatic number; arena.None to keep no empty slab. It holds
// for slabs that become empty from now on. Any goroutine. (Kernel: min_partial.)
func (s *Slabs) SetMinPartial(n int) {
	switch n {
	case 0:
		n = defaultMinPartial(s.size)
	case arena.None:
		n = 0
	}
	s.minPartial.Store(int64(n))
}

// SetRemoteDefragRatio sets how many of 100 refills that find no partial slab on their node look
// for objects in other nodes' partial slabs before they make a slab: n, 1 to 100; 0 for none,
// except near a limit; arena.None for none at all. Any goroutine. (Kernel:
// remote_node_defrag_ratio.)
func (s *Slabs) SetRemoteDefragRatio(n int) { s.defrag.Store(int64(n)) }

// defaultMinPartial is half of log2(size), each rounded down, within 5 to 10 (kernel:
// calculate_sizes, set_min_partial).
func defaultMinPartial(size uintptr) int {
	return min(10, max(5, (bits.Len64(uint64(size))-1)/2))
}

// shuffled returns the numbers below n in a random order (Fisher and Yates), and the place of each.
func shuffled(n int) (order, place []uint32) {
	order, place = make([]uint32, n), make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	rand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, k := range order {
		place[k] = uint32(i)
	}
	return order, place
}
