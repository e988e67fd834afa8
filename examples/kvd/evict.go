package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub/rcumap"
)

// At the limit entries make room that were not used lately. The arena asks for it, by its shrinker:
// on a goroutine of its own when a sixteenth of the limit is left, on that of an allocation that
// would fail, and when the kernel says that the machine is short of memory. So the store doesn't
// count bytes, and gives way to whatever else uses the arena.
//
// The choice is a CLOCK with counters. The hand goes round the map's list. Each read raises an
// entry's counter up to 3, the hand lowers it, and an entry at 0 leaves. If eight entries in a row
// stay, the next ones leave at 1, then at 2, so that the work for each is bounded. Redis takes the
// worst of five random keys, and notes the time of each read. A CLOCK needs no times: a hot entry
// is only read, not written, by everything that gets it. The list is in the order of seeded hashes,
// so what the hand meets next is a random sample, and it meets each entry once in a round: nothing
// cold is forgotten.
type evictor struct {
	s     *slubdStore
	mu    sync.Mutex    // a shrinker only tries it
	hand  rcumap.Cursor // guarded by mu, as spare is
	spare uint64        // entries stay that have more uses
	count atomic.Uint64 // entries that have left
	stop  func()
}

// sampled is how many entries the hand passes at a time.
const sampled = 8

// start registers the shrinker.
func (e *evictor) start(s *slubdStore) {
	e.s = s
	e.stop = s.arena.AddShrinker(arena.Shrinker{
		Name:  "kvd",
		Count: e.offered,
		Scan:  e.scan,
	})
}

// offered is the shrinker's count of entries. A store without a limit offers none: it keeps its
// keys also when the machine is short of memory.
func (e *evictor) offered() int64 {
	if e.s.arena.Limit() == arena.Unlimited {
		return 0
	}
	return int64(e.s.entries.Len())
}

// What one call frees is bounded, since memory comes back a grace period later: an allocation that
// went on asking until then would empty the store. It is not too little either, since an allocation
// that fails waits for that grace period.
const (
	part      = 128 // of the limit
	leastPart = 1 << 20
	mostPart  = 64 << 20
)

// scan is the shrinker's. It frees up to n entries and returns how many it has freed; -1 if another
// goroutine is evicting.
func (e *evictor) scan(n int64) int64 {
	if !e.mu.TryLock() {
		return -1
	}
	defer e.mu.Unlock()
	return e.free(n, e.share())
}

func (e *evictor) share() int64 {
	limit := e.s.arena.Limit()
	return min(max(limit/part, leastPart), limit/16, mostPart)
}

// free frees up to n entries or a few more, and stops after the given number of bytes.
// Preconditions:
//   - the caller holds mu.
func (e *evictor) free(n, bytes int64) (freed int64) {
	now := unixMilli()
	leaves := func(i rcumap.Item) bool {
		w := i.Word().Load()
		if uses := w & maxUses; uses <= e.spare || !isLive(i, now) {
			return true
		}
		i.Word().CompareAndSwap(w, w-1)
		return false
	}
	for freed < n && bytes > 0 {
		next, gone, size := e.s.entries.Sweep(e.hand, sampled, leaves)
		if gone > 0 {
			e.spare = 0
		} else if e.spare++; e.spare > maxUses && e.s.entries.Len() == 0 {
			break
		}
		e.hand, freed, bytes = next, freed+int64(gone), bytes-size
	}
	e.count.Add(uint64(freed))
	return freed
}

// some evicts some entries without being asked.
func (e *evictor) some() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.free(sampled, max(e.share(), 1))
}

// toLimit evicts until the store takes no more than its limit.
func (e *evictor) toLimit() {
	memory := e.s.entries.Memory()
	for e.s.arena.InUse() > e.s.arena.Limit() && e.s.len() > 0 {
		e.mu.Lock()
		e.free(e.s.arena.InUse(), max(e.share(), 1))
		e.mu.Unlock()
		if memory.Barrier(context.Background()) != nil {
			return
		}
		memory.Shrink()
	}
}
