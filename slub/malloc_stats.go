package slub

import (
	"math"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
)

// Name returns the name of the Buckets, with which those of their caches begin. Any goroutine.
func (b *Buckets) Name() string { return b.config.name() }

// Arena returns the arena that all memory of the Buckets comes from. Any goroutine.
func (b *Buckets) Arena() *arena.Arena { return b.arena }

// Domain returns the domain whose grace periods FreeRCU waits for. Any goroutine.
func (b *Buckets) Domain() *rcu.Domain { return b.config.Domain }

// Shrink gives cached memory back: it shrinks the cache of each class, as Cache.Shrink does, frees
// the large objects given to FreeDeferred, and discards all idle pages of the arena, once. It
// returns the number of slabs left. Any goroutine; in a callback as Cache.Shrink. It costs a
// Cache.Shrink for each class. (Kernel: kmem_cache_shrink.)
func (b *Buckets) Shrink() (slabs int) {
	b.drainLarge(math.MaxUint)
	b.emptyLarge(false)
	for c := range b.all() {
		slabs += c.shrinkSlabs()
	}
	b.arena.Purge(0)
	b.reportLargeFound()
	return slabs
}

// BucketsStats is a reading of Buckets. Counters and gauges are as exact as those of Stats.
type BucketsStats struct {
	Classes []ClassStats // one for each size of Classes, over all partitions and Accounts
	Large   LargeStats   // objects that are of no cache
	Objects uint64       // in use, of all sizes
	Bytes   int64        // room that these objects have
	Backlog BacklogStats
}

// ClassStats has the figures of one size class.
type ClassStats struct {
	Size    int64  // bytes of an object
	Objects uint64 // in use; see Stats.InUse
	Bytes   int64  // room that these objects have
	Slabs   uint64 // of all nodes
	Reserve int64  // bytes that the slabs have room for in objects, in use or free
}

// LargeStats has the figures of the objects of Buckets that are of no cache: those larger than all
// classes, and above 32 KiB those that MallocZero, BytesZero, ReallocZero and MallocNode return,
// those that were allocated before the cache of their class was made, and all of debug Buckets.
type LargeStats struct {
	Name     string    // of the Buckets
	ID       uint32    // tells two Buckets of one name apart
	Runs     PageStats // objects that are page runs: up to 4 MiB
	Mappings PageStats // objects that are mappings of their own: above 4 MiB
	// Waiting is the number of objects given to FreeRCU or FreeDeferred that are not free yet. Runs
	// and Mappings count them as well: their pages are in use.
	Waiting uint64
	// Failures counts by reason the allocations of such objects that failed.
	Failures [NumFailureReasons]uint64
}

// PageStats counts the objects of one kind.
type PageStats struct {
	Allocs  uint64 // allocations since NewBuckets
	Objects uint64 // objects whose pages are not free yet; in debug Buckets those that do not wait
	Bytes   int64  // of the pages of these objects
}

// Stats reads the counters and gauges of all sizes. Any goroutine, also after Close. It costs a
// Cache.Stats for each class, and nothing for each object.
func (b *Buckets) Stats() BucketsStats {
	sizes := Classes()
	s := BucketsStats{Classes: make([]ClassStats, len(sizes)), Large: b.LargeStats(), Backlog: b.backlog.stats()}
	for i, size := range sizes {
		s.Classes[i].Size = int64(size)
	}
	for i, c := range b.caches {
		s.Classes[i%numClasses].add(c.Stats())
	}
	for i, c := range b.pages.made() {
		s.Classes[numClasses+i].add(c.Stats())
	}
	for i, c := range b.accounted.made() {
		s.Classes[i].add(c.Stats())
	}
	for _, c := range s.Classes {
		s.Objects += c.Objects
		s.Bytes += c.Bytes
	}
	for _, p := range []PageStats{s.Large.Runs, s.Large.Mappings} {
		s.Objects += p.Objects
		s.Bytes += p.Bytes
	}
	return s
}

// add adds the figures of a partition's cache.
func (s *ClassStats) add(c Stats) {
	s.Objects += c.InUse
	s.Bytes += int64(c.InUse) * c.Size
	for _, n := range c.Nodes {
		s.Slabs += n.Slabs
		s.Reserve += int64(n.Objects) * c.SlotSize
	}
}

// LargeStats reads the counters and gauges of the objects that are of no cache. Any
// goroutine, also after Close. It costs a few loads.
func (b *Buckets) LargeStats() LargeStats {
	runs, mappings := b.large.stats()
	return LargeStats{Name: b.config.name(), ID: b.id, Runs: runs, Mappings: mappings,
		Waiting:  uint64(max(0, b.freeQueue.Pending())) + uint64(max(0, b.large.deferred.pending.Load())),
		Failures: b.large.failures.read()}
}

// stats returns the figures of runs and of mappings. Runs are what is not a mapping: the counters
// are read one after the other, so a difference may be off by what overlaps the reading.
func (l *largeObjects) stats() (runs, mappings PageStats) {
	mappings = pageStats(l.mappings.allocs.Load(), l.mappings.inUse.Load(), l.mappings.bytes.Load())
	allocs, inUse, bytes := l.allocs.Load(), l.inUse.Load(), l.bytes.Load()
	return pageStats(allocs-int64(mappings.Allocs), inUse-int64(mappings.Objects), bytes-mappings.Bytes), mappings
}

func pageStats(allocs, objects, bytes int64) PageStats {
	return PageStats{Allocs: uint64(max(0, allocs)), Objects: uint64(max(0, objects)), Bytes: max(0, bytes)}
}
