package slub

import (
	"iter"
	"sync"
	"sync/atomic"
)

// allBuckets has the Buckets that have not been closed without an error.
var allBuckets bucketsRegistry

// A bucketsRegistry gives each Buckets an index, by which a Slice finds them. Indexes of closed
// Buckets are used again: a stale Slice then leads to Buckets that don't know its address.
//
// There are never more than maxBuckets: each takes a number for every class, of owner.MaxCaches.
type bucketsRegistry struct {
	mu   sync.Mutex
	free []uint32 // indexes that were used and are not. Under mu

	// byIndex is replaced under mu by a longer one when it is full, and read without a lock.
	// Entries change under mu only, and so are all copied.
	byIndex atomic.Pointer[[]atomic.Pointer[Buckets]]
	used    int // entries that are or were in use, which begins with 1. Under mu
}

const (
	bucketsBits = 20
	maxBuckets  = 1 << bucketsBits // indexes, and 0, which is none
)

// add gives b an index.
func (r *bucketsRegistry) add(b *Buckets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.free) - 1; last >= 0 {
		b.index, r.free = r.free[last], r.free[:last]
	} else {
		r.used++
		b.index = uint32(r.used)
	}
	list := r.list()
	if int(b.index) >= len(list) {
		longer := make([]atomic.Pointer[Buckets], max(8, 2*len(list)))
		for i := range list {
			longer[i].Store(list[i].Load())
		}
		r.byIndex.Store(&longer)
		list = longer
	}
	list[b.index].Store(b)
}

// remove takes the index back, once.
func (r *bucketsRegistry) remove(b *Buckets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry := &r.list()[b.index]; entry.Load() == b {
		entry.Store(nil)
		r.free = append(r.free, b.index)
	}
}

func (r *bucketsRegistry) list() []atomic.Pointer[Buckets] {
	if list := r.byIndex.Load(); list != nil {
		return *list
	}
	return nil
}

// at returns the Buckets with an index, or nil.
func (r *bucketsRegistry) at(index uint32) *Buckets {
	if list := r.list(); int(index) < len(list) {
		return list[index].Load()
	}
	return nil
}

// all yields the Buckets that are open at the time.
func (r *bucketsRegistry) all() iter.Seq[*Buckets] {
	return func(yield func(*Buckets) bool) {
		list := r.list()
		for i := range list {
			if b := list[i].Load(); b != nil && !yield(b) {
				return
			}
		}
	}
}
