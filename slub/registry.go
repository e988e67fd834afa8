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
	mu   sync.Mutex
	byID []*Cache // index = number; entry 0 is unused, as an owner word is never 0
}

// maxCaches is what an owner word has room for: 31 bits less 8 for the node.
const maxCaches = 1 << (31 - nodeBits)

// nodeBits of an owner word are the index of a node.
const nodeBits = 8

// add gives c a number, and a name that no other open cache has. Numbers of closed
// caches are not given out again, so that a stale pointer is never taken for a
// younger cache's.
func (r *registry) add(c *Cache) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byID) == 0 {
		r.byID = append(r.byID, nil)
	}
	if len(r.byID) == maxCaches {
		return fmt.Errorf("slub: more than %d caches", maxCaches-1)
	}
	c.id = uint32(len(r.byID))
	taken := func(o *Cache) bool { return o != nil && o.name == c.name }
	if slices.ContainsFunc(r.byID, taken) {
		c.name = fmt.Sprintf("%s#%d", c.name, c.id)
	}
	r.byID = append(r.byID, c)
	return nil
}

func (r *registry) remove(c *Cache) {
	r.mu.Lock()
	r.byID[c.id] = nil
	r.mu.Unlock()
}

// find returns the open cache that an owner word names, or nil.
func (r *registry) find(word uint32) *Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := ownerID(word); id < uint32(len(r.byID)) {
		return r.byID[id]
	}
	return nil
}

// ownerID takes the cache's number out of an owner word.
func ownerID(word uint32) uint32 { return word &^ careful >> nodeBits }

// Caches yields the caches that are open at the time of the call, oldest first.
// Any goroutine; a cache may be closed while it is looked at.
func Caches() iter.Seq[*Cache] {
	caches.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(caches.byID), func(c *Cache) bool { return c == nil })
	caches.mu.Unlock()
	return slices.Values(all)
}

var defaultDomain rcu.Domain

// DefaultDomain returns the domain of the caches whose Config names none. Readers
// of their objects register there.
func DefaultDomain() *rcu.Domain { return &defaultDomain }
