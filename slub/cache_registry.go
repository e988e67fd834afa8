package slub

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/slubd/slubd/internal/names"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/rcu"
)

// caches has all open caches and their numbers, which owner words contain (kernel: slab_caches,
// slab_mutex).
var caches registry

type registry struct {
	mu      sync.Mutex
	byID    []*Cache              // of aliases the oldest; nil unless published
	numbers numbers               // those that no open cache has
	names   names.Set[*Cache]     // names of caches that have a number and are not removed
	shared  map[layoutID][]*Cache // groups of caches that others may join, oldest first
	births  uint64                // caches ever published, aliases apart
}

// span reserves n consecutive numbers that no cache has, and returns the first. It costs the same
// however many caches are open.
func (r *registry) span(n int) (first uint32, err error) {
	if first = r.takeNumbers(n); first == 0 {
		return 0, fmt.Errorf("slub: more than %d caches are open, or were closed and are still referred to", owner.MaxCaches-1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if missing := int(first) + n - len(r.byID); missing > 0 {
		r.byID = append(r.byID, make([]*Cache, missing)...)
	}
	return first, nil
}

// reserve gives c a number, unless it has one of a span, and a name that no other cache has.
func (r *registry) reserve(c *Cache) error {
	if c.id == 0 {
		id, err := r.span(1)
		if err != nil {
			return err
		}
		c.id = id
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nameLocked(c)
	return nil
}

// nameLocked gives c a name that no other open cache has. The caller holds mu.
func (r *registry) nameLocked(c *Cache) { c.name = r.names.Add(c.name, c) }

// publish makes c visible to other goroutines. c is complete.
func (r *registry) publish(c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[c.id] = c
	r.births++
	c.born = r.births
	r.joinableLocked(c)
}

// remove undoes reserve and publish.
func (r *registry) remove(c *Cache) {
	r.mu.Lock()
	r.byID[c.id] = nil
	r.names.Remove(c.name, c)
	r.notJoinableLocked(c)
	r.mu.Unlock()
}

// unreserve undoes reserve for a cache that could not be made. If own is set its number, which no
// owner word contains yet, becomes free.
func (r *registry) unreserve(c *Cache, own bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names.Remove(c.name, c)
	if own {
		r.numbers.give(c.id, 1)
	}
}

// find returns the open cache that an owner word names, or nil.
func (r *registry) find(o owner.Word) *Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := o.ID(); id < uint32(len(r.byID)) {
		return r.byID[id]
	}
	return nil
}

// Caches yields the caches that are open at the time of the call, oldest first. Of caches that
// share slabs, and with them all counters, it yields the oldest. Any goroutine. A cache may be
// closed while the caller uses it: Stats works on closed caches, allocations return ErrClosed.
func Caches() iter.Seq[*Cache] {
	all := caches.all()
	slices.SortFunc(all, func(a, b *Cache) int { return cmp.Compare(a.born, b.born) })
	return slices.Values(all)
}

// all returns the open caches, in no order.
func (r *registry) all() []*Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.byID), func(c *Cache) bool { return c == nil })
}

var defaultDomain = rcu.Domain{Name: "default"}

// DefaultDomain returns the domain of the caches whose Config has none. Readers of their objects
// are readers of this domain. Any goroutine.
func DefaultDomain() *rcu.Domain { return &defaultDomain }
