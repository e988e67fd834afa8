package arena

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/loghist"
	"github.com/slubd/slubd/internal/mem"
)

// Before an allocation fails for lack of memory, memory of the arena that is only kept is given
// back: free objects in the sheaves and empty slabs of all caches, and what shrinkers let go. The
// kernel does the same in __alloc_pages_direct_reclaim. The arena's own free pages are discarded
// earlier, by Alloc itself (takeDiscarding).
//
// # Waits
//
// One round runs at a time. A caller whose allocation fails while another's round is under way
// waits for that round, since the memory may be on its way from a sheaf to the arena just then and
// count as neither. The holder of round waits for the locks of stacks, barns and nodes, which are
// held for loads and stores only, and for the functions of users: destructors, hooks and shrinkers.
// It only tries the locks that are held while destructors and hooks run, except those of what
// FreeDeferred was given, and waits for a shrinker that another goroutine has called. So the holder
// waits for the failing caller in one case only: if a user's function, called in the round, in such
// a shrinker or while what was deferred is freed, allocates or waits for the caller. Such a wait is
// given up after lock.MaxWait.
//
// # What a round costs
//
// A Reclaimer first looks, without a lock, whether its owner keeps anything. So a round that finds
// nothing costs some loads for each CPU and cache of the arena, and no lock, system call or call of
// a user's function but Shrinker.Count; and what a round gives back is gone for the next one. No
// clock and no count of failures is needed to make a second failure cheap.
type reclaim struct {
	round lock.Turn // taken while a round is under way

	mu         sync.Mutex // a leaf
	reclaimers []*Reclaimer
	shrinkers  []*shrinker // replaced as a whole when one comes or goes

	any        atomic.Bool // there are shrinkers
	pressed    bool        // counted in pressure.arenas; under pressure.mu
	background atomic.Bool // shrinkNear is running

	rounds, helped, objects atomic.Uint64
	times                   loghist.Recorder // of rounds
}

// A Reclaimer is one user of the arena that keeps memory for later and can give it back.
type Reclaimer struct {
	give  func() (objects int)
	index int // in reclaim.reclaimers; under reclaim.mu
}

// AddReclaimer makes give take part in rounds of Reclaim. give returns the number of objects that
// it has given back, 0 if nothing is kept, which it finds out without a lock. It may be called by
// several goroutines at a time. For allocators.
func (a *Arena) AddReclaimer(give func() (objects int)) *Reclaimer {
	r := &a.reclaim
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &Reclaimer{give: give, index: len(r.reclaimers)}
	r.reclaimers = append(r.reclaimers, m)
	return m
}

// RemoveReclaimer undoes AddReclaimer. A round that is under way may still call give. For
// allocators.
func (a *Arena) RemoveReclaimer(m *Reclaimer) {
	r := &a.reclaim
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.reclaimers) - 1
	r.reclaimers[m.index] = r.reclaimers[last]
	r.reclaimers[m.index].index = m.index
	r.reclaimers[last] = nil
	r.reclaimers = r.reclaimers[:last]
}

// Reclaim runs one round for an allocation of the given bytes that has failed for lack of memory.
// It calls first, which may be nil and gives back what the failing user of the arena keeps itself,
// then every Reclaimer, then the shrinkers. As soon as the bytes may be there it calls again, which
// tries the allocation once more and reports whether it succeeded; so does Reclaim. For allocators.
//
// The caller holds no lock and is in no function of a user. A panic in one of these leaves nothing
// locked.
func (a *Arena) Reclaim(bytes int64, first func() (objects int), again func() bool) bool {
	r := &a.reclaim
	if bytes > a.limit.Load() {
		return false
	}
	if !r.round.Take() {
		return again() // the round that was waited for in vain may have given back enough
	}
	defer r.round.Give()
	r.rounds.Add(1)
	began := time.Now()
	defer func() { r.times.Observe(time.Since(began)) }()
	if a.reclaimAll(bytes, first, again) {
		r.helped.Add(1)
		return true
	}
	return false
}

// AwaitReclaim waits for the round of Reclaim that is under way, at most as long as Reclaim does.
// It reports whether there was one. What that round has in hand is with its owners or the arena
// then. For allocators.
func (a *Arena) AwaitReclaim() bool {
	r := &a.reclaim
	if !r.round.Taken() {
		return false
	}
	if r.round.Take() {
		r.round.Give()
	}
	return true
}

// reclaimAll is Reclaim for the caller whose round it is.
func (a *Arena) reclaimAll(bytes int64, first func() int, again func() bool) bool {
	// Another round may have given back enough while this one was waited for, and a free may have
	// come meanwhile.
	shrunk := a.reclaim.shrunk()
	if again() {
		return true
	}
	if a.ask(first) > 0 && again() || a.askReclaimers(bytes, again) {
		return true
	}
	// The kernel begins with a small part of what shrinkers count, too, and asks for more when
	// that was not enough (DEF_PRIORITY).
	for part := int64(4); part >= 1; part /= 2 {
		a.shrink(part, true)
		now := a.reclaim.shrunk()
		if now == shrunk {
			continue
		}
		shrunk = now
		// What was freed, here or meanwhile by another call, lies in sheaves and slabs now.
		if again() || a.ask(first) > 0 && again() || a.askReclaimers(bytes, again) {
			return true
		}
	}
	return false
}

// ask calls a function that gives objects back, and counts them.
func (a *Arena) ask(give func() int) (objects int) {
	if give != nil {
		objects = give()
	}
	if objects > 0 {
		a.reclaim.objects.Add(uint64(objects))
	}
	return objects
}

// askReclaimers asks one Reclaimer after the other, and calls again whenever they have given back
// the bytes, and in the end if any has given something. It goes from the last one to the first:
// RemoveReclaimer moves the last one to the place of the one that it removes, so that a Reclaimer
// may be asked twice, but none is left out.
func (a *Arena) askReclaimers(bytes int64, again func() bool) bool {
	r := &a.reclaim
	used, any := a.InUse(), false
	r.mu.Lock()
	i := len(r.reclaimers)
	r.mu.Unlock()
	for i--; ; i-- {
		r.mu.Lock()
		i = min(i, len(r.reclaimers)-1)
		if i < 0 {
			r.mu.Unlock()
			break
		}
		m := r.reclaimers[i]
		r.mu.Unlock()
		if a.ask(m.give) == 0 {
			continue
		}
		any = true
		if now := a.InUse(); used-now >= bytes {
			if again() {
				return true
			}
			used, any = now, false
		}
	}
	return any && again()
}

// InUse returns the bytes of runs and mappings that are handed out, or are being discarded. It is
// one load.
func (a *Arena) InUse() int64 {
	charged, dirty := a.ledger.load()
	return (charged - dirty) * mem.PageSize
}

// ReclaimStats says what was given back before allocations failed, since New.
type ReclaimStats struct {
	Rounds  uint64 // rounds: allocations that found no memory at first
	Helped  uint64 // rounds after which the allocation succeeded
	Objects uint64 // free objects that sheaves gave back, and empty slabs
	// Shrinkers has those that are registered now, oldest first.
	Shrinkers []ShrinkerStats
	Times     Histogram // how long rounds took
}

// Histogram counts durations in buckets that end at powers of two of a second.
type Histogram = loghist.Histogram

func (r *reclaim) stats() ReclaimStats {
	s := ReclaimStats{Rounds: r.rounds.Load(), Helped: r.helped.Load(), Objects: r.objects.Load(), Times: r.times.Read()}
	for _, sh := range r.list() {
		s.Shrinkers = append(s.Shrinkers, ShrinkerStats{Name: sh.Name, Calls: sh.calls.Load(), Freed: sh.freed.Load()})
	}
	return s
}
