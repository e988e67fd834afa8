package slub

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/slubd/slubd/rcu"
)

// caches is the list of all open caches and of their numbers, which stand for them
// in off-heap memory (kernel: slab_caches, slab_mutex).
var caches registry

type registry struct {
	mu    sync.Mutex
	byID  []*Cache          // index = number; nil before publish, after remove, and for 0. Of aliases the oldest
	names map[string]*Cache // caches that have a number and are not removed
}

// span sets n consecutive numbers aside, which no cache has, and returns the first.
func (r *registry) span(n int) (first uint32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.init()
	if len(r.byID)+n > maxCaches {
		return 0, fmt.Errorf("slub: more than %d caches", maxCaches-1)
	}
	first = uint32(len(r.byID))
	r.byID = append(r.byID, make([]*Cache, n)...)
	return first, nil
}

func (r *registry) init() {
	if r.names == nil {
		r.names, r.byID = make(map[string]*Cache), make([]*Cache, 1)
	}
}

// reserve gives c a number, unless it has one of a span, and a name that no other cache
// has. Numbers of closed caches are not given out again, so that a stale pointer is never
// taken for a younger cache's; 0 is none.
func (r *registry) reserve(c *Cache) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.init()
	if c.id == 0 {
		if len(r.byID) == maxCaches {
			return fmt.Errorf("slub: more than %d caches", maxCaches-1)
		}
		c.id = uint32(len(r.byID))
		r.byID = append(r.byID, nil)
	}
	r.nameLocked(c)
	return nil
}

// nameLocked gives c a name that no other open cache has: its own, or that with the least
// number from 2 on that makes it so. '#' is in no Config's name. The numbers of closed ones
// are used again, so that metrics don't get a new label with each cache that a program
// opens and closes. The caller holds mu.
func (r *registry) nameLocked(c *Cache) {
	for base, n := c.name, 2; r.names[c.name] != nil; n++ {
		c.name = fmt.Sprintf("%s#%d", base, n)
	}
	r.names[c.name] = c
}

// publish lets others see c, which is complete.
func (r *registry) publish(c *Cache) {
	r.mu.Lock()
	r.byID[c.id] = c
	r.mu.Unlock()
}

// remove takes back reserve and publish. The name may be another's when c is closed
// a second time.
func (r *registry) remove(c *Cache) {
	r.mu.Lock()
	r.byID[c.id] = nil
	r.forgetName(c)
	r.mu.Unlock()
}

// forgo takes back reserve for a cache that has come to nothing. A number of its own, which
// stands nowhere yet, is free again unless others have been given out since.
func (r *registry) forgo(c *Cache, own bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetName(c)
	if last := len(r.byID) - 1; own && int(c.id) == last {
		r.byID = r.byID[:last]
	}
}

func (r *registry) forgetName(c *Cache) {
	if r.names[c.name] == c {
		delete(r.names, c.name)
	}
}

// find returns the open cache that something belongs to, or nil.
func (r *registry) find(o owner) *Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := o.id(); id < uint32(len(r.byID)) {
		return r.byID[id]
	}
	return nil
}

// Caches yields the caches that are open at the time of the call, oldest first; of those
// that share slabs, and so all counters, only the oldest.
// Any goroutine; a cache may be closed while it is looked at.
func Caches() iter.Seq[*Cache] {
	caches.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(caches.byID), func(c *Cache) bool { return c == nil })
	caches.mu.Unlock()
	return slices.Values(all)
}

var defaultDomain = rcu.Domain{Name: "default"}

// DefaultDomain returns the domain of the caches whose Config names none. Readers
// of their objects register there.
func DefaultDomain() *rcu.Domain { return &defaultDomain }
