package sampling

import (
	"hash/maphash"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxDepth = 64      // frames of a stack, as in Go's heap profile of before 1.23
	maxSites = 1 << 14 // about 10 MiB with their stacks
	maxLive  = 1 << 17 // about 13 MiB
	shards   = 64
)

// Labels are what a site's samples have in common beside their stack.
type Labels struct {
	Cache, Group, Tag string
	Size              int64 // of an object, or the size class of larger ones
	Node              int   // number of the NUMA node
}

// A Site is a call stack with labels, and what has been allocated there, by estimate.
type Site struct {
	Labels
	Stack []uintptr // as runtime.Callers fills it

	number uint32 // in Table.byNumber

	// Fixed-point numbers, so that what is added and later taken away is the same.
	objects, freedObjects atomic.Int64 // in units of 1/unit
	bytes, freedBytes     atomic.Int64
}

// unit is what an object counts for in a Site.
const unit = 1 << 10

// AllocObjects and the other three methods are estimates: the sum of what the samples stand for.
func (s *Site) AllocObjects() int64 { return s.objects.Load() / unit }

// AllocBytes is described with AllocObjects.
func (s *Site) AllocBytes() int64 { return s.bytes.Load() }

// InUseObjects is described with AllocObjects.
func (s *Site) InUseObjects() int64 {
	freed := s.freedObjects.Load() // first, since both only grow
	return (s.objects.Load() - freed) / unit
}

// InUseBytes is described with AllocObjects.
func (s *Site) InUseBytes() int64 {
	freed := s.freedBytes.Load() // as in InUseObjects
	return s.bytes.Load() - freed
}

// A Sample is one object in use that was sampled.
type Sample struct {
	Site  *Site
	Bytes int64     // of the object itself
	Since time.Time // when it was allocated

	objects, bytes int64 // what it adds to Site
}

// A Table has the samples of a process. The zero value is ready.
type Table struct {
	seed  maphash.Seed
	once  sync.Once
	sites [shards]struct {
		mu sync.Mutex
		of map[uint64][]*Site // by hash of stack and labels
		_  [48]byte
	}
	live [shards]struct {
		mu sync.Mutex
		at map[uintptr]Sample // by address
		_  [48]byte
	}
	nSites, nLive, dropped atomic.Int64
	full                   Site // what shares one site since there are maxSites

	byNumber [maxSites + 1]atomic.Pointer[Site] // by Site.number; [0] is nil
}

// Full reports whether no more samples are taken until some are freed. A caller that has to make
// room for a sampled object asks before.
func (t *Table) Full() bool { return t.nLive.Load() >= maxLive }

// Drop counts a sample that could not be taken.
func (t *Table) Drop() { t.dropped.Add(1) }

// Dropped returns how many samples could not be taken.
func (t *Table) Dropped() int64 { return t.dropped.Load() }

// Add notes that the caller has allocated an object of the given number of bytes, which stands for
// weight objects like it.
func (t *Table) Add(addr uintptr, bytes int64, weight float64, now time.Time, labels *Labels) {
	var pcs [maxDepth]uintptr
	n := runtime.Callers(2, pcs[:])
	s := Sample{Site: t.site(pcs[:n], labels), Bytes: bytes, Since: now,
		objects: int64(weight * unit), bytes: int64(weight * float64(bytes))}
	t.nLive.Add(1)
	s.Site.objects.Add(s.objects)
	s.Site.bytes.Add(s.bytes)
	l := &t.live[shardOf(addr)]
	l.mu.Lock()
	if l.at == nil {
		l.at = map[uintptr]Sample{}
	}
	l.at[addr] = s
	l.mu.Unlock()
}

// Remove notes that the object at addr is free, if it was sampled.
func (t *Table) Remove(addr uintptr) {
	if t.nLive.Load() == 0 {
		return
	}
	l := &t.live[shardOf(addr)]
	l.mu.Lock()
	s, ok := l.at[addr]
	delete(l.at, addr)
	l.mu.Unlock()
	if !ok {
		return
	}
	s.Site.freedObjects.Add(s.objects)
	s.Site.freedBytes.Add(s.bytes)
	t.nLive.Add(-1)
}

// At returns the sample of the object at addr.
func (t *Table) At(addr uintptr) (s Sample, ok bool) {
	l := &t.live[shardOf(addr)]
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok = l.at[addr]
	return s, ok
}

// shardOf spreads addresses, which are multiples of a page.
func shardOf(addr uintptr) uint64 { return uint64(addr) >> 12 * 0x9e3779b97f4a7c15 >> 58 }

// site returns the site of a stack with labels.
func (t *Table) site(stack []uintptr, labels *Labels) *Site {
	t.once.Do(func() { t.seed = maphash.MakeSeed() })
	h := hashOf(stack) ^ maphash.Comparable(t.seed, *labels)
	l := &t.sites[h%shards]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.of[h] {
		if s.Labels == *labels && slices.Equal(s.Stack, stack) {
			return s
		}
	}
	number := t.nSites.Add(1)
	if number > maxSites {
		t.nSites.Add(-1)
		return &t.full
	}
	s := &Site{Labels: *labels, Stack: slices.Clone(stack), number: uint32(number)}
	t.byNumber[number].Store(s)
	if l.of == nil {
		l.of = map[uint64][]*Site{}
	}
	l.of[h] = append(l.of[h], s)
	return s
}

// Number returns a number of a call stack, by which Numbered finds it: where there is no room for a
// Go pointer. Equal stacks have one number. It is 0 once there are maxSites others.
func (t *Table) Number(stack []uintptr) uint32 { return t.site(stack, &Labels{}).number }

// Numbered returns the call stack with a number, nil for a number that Number has not returned.
func (t *Table) Numbered(number uint32) []uintptr {
	if number > maxSites {
		return nil
	}
	if s := t.byNumber[number].Load(); s != nil {
		return s.Stack
	}
	return nil
}

// hashOf mixes the words of a stack.
func hashOf(stack []uintptr) (h uint64) {
	for _, pc := range stack {
		h = (h ^ uint64(pc)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h
}

// Sites yields all sites that have ever had a sample. The one without a stack, if it is there, is
// for those behind maxSites.
func (t *Table) Sites() iter.Seq[*Site] {
	return func(yield func(*Site) bool) {
		var all []*Site
		for i := range t.sites {
			l := &t.sites[i]
			l.mu.Lock()
			for _, list := range l.of {
				all = append(all, list...)
			}
			l.mu.Unlock()
		}
		if t.full.objects.Load() > 0 {
			all = append(all, &t.full)
		}
		for _, s := range all {
			if !yield(s) {
				return
			}
		}
	}
}
