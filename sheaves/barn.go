package sheaves

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// A barn is where the CPUs of one node exchange sheaves (kernel: struct node_barn).
// Lists are LIFO, so that the hottest sheaf is taken first; waiting is FIFO, as
// grace periods end in the order they were asked for.
type barn struct {
	mu          lock.Mutex
	full, empty list
	waiting     *sheaf // oldest first, linked by next
	last        *sheaf // youngest waiting
	ready       list   // have waited; youngest first
	limit       uint32 // capacity of the sheaves in full and empty
	low         int    // least number of full sheaves since takeIdle
	_           [64]byte

	// Racy peeks at the lists, so that a CPU with nothing to gain stays off the
	// mutex. Written under mu. nrWaiting counts waiting and ready.
	nrFull, nrEmpty, nrWaiting uint32

	// Sheaves submitted but not yet in waiting, youngest first: a lock-free list,
	// because FreeRCU submits under its stack's lock, where the mutex may only be
	// tried and failing is no option.
	parked   atomic.Pointer[sheaf]
	nrParked atomic.Int32 // never fewer than are parked

	armed      atomic.Bool // a callback that will reap this barn is queued
	reapExcess func()      // the callback, made once so that queueing it allocates no closure
	mark       rcu.Token   // youngest sheaf at the last takeStale, 0 none; Set.ticking
}

// tries bounds how often a holder of a stack's lock asks for the mutex, whose
// holders need some tens of nanoseconds unless descheduled.
const tries = 32

func (b *barn) tryLock() bool {
	for range tries {
		if b.mu.TryLock() {
			b.reached()
			return true
		}
	}
	return false
}

// unlock publishes the counts and unlocks.
func (b *barn) unlock() {
	b.reached()
	b.low = min(b.low, b.full.n)
	mem.Store32(&b.nrFull, uint32(b.full.n))
	mem.Store32(&b.nrEmpty, uint32(b.empty.n))
	b.mu.Unlock()
}

// reached lets tests interrupt a holder of mu.
func (b *barn) reached() {
	if invariants.Enabled {
		invariants.Reach(invariants.BarnHeld)
	}
}

func (b *barn) fulls() int   { return int(atomic.LoadUint32(&b.nrFull)) }
func (b *barn) empties() int { return int(atomic.LoadUint32(&b.nrEmpty)) }

// waits is how many sheaves wait for a grace period or for somebody to want them.
func (b *barn) waits() int { return int(b.nrParked.Load()) + int(atomic.LoadUint32(&b.nrWaiting)) }

func (b *barn) anyWaiting() bool { return b.waits() > 0 }

// replaceEmpty trades empty for a full sheaf, or returns nil. It ignores the limit
// of empty sheaves: their number is unchanged on the whole. May be called under a
// stack's lock (kernel: barn_replace_empty_sheaf). An empty sheaf of a capacity that is
// none any more could neither be kept nor be freed under that lock: no trade.
func (b *barn) replaceEmpty(empty *sheaf) *sheaf {
	if b.fulls() == 0 || !b.tryLock() {
		return nil
	}
	var full *sheaf
	if b.takes(empty) {
		full = b.full.pop()
	}
	if full != nil {
		b.empty.push(empty)
	}
	b.unlock()
	return full
}

// Why replaceFull refused.
type refusal int

const (
	accepted refusal = iota
	tooMany          // the barn has its fill of full sheaves (kernel: E2BIG)
	noEmpty          // no empty sheaf to trade for (ENOMEM)
	noSpare          // there is no spare either: no full sheaf was offered
	busy             // the mutex was held (EBUSY), or SetCapacity has overtaken the sheaf
)

// replaceFull trades full for an empty sheaf. May be called under a stack's lock
// (kernel: barn_replace_full_sheaf).
func (b *barn) replaceFull(full *sheaf, maxFull int) (*sheaf, refusal) {
	if b.fulls() >= maxFull {
		return nil, tooMany
	}
	if b.empties() == 0 {
		return nil, noEmpty
	}
	if !b.tryLock() {
		return nil, busy
	}
	if !b.takes(full) {
		b.unlock()
		return nil, busy
	}
	empty := b.empty.pop()
	if empty != nil {
		b.full.push(full)
	}
	b.unlock()
	if empty == nil {
		return nil, noEmpty
	}
	return empty, accepted
}

// getEmpty takes an empty sheaf, or returns nil. May be called under a stack's lock.
func (b *barn) getEmpty() *sheaf {
	if b.empties() == 0 || !b.tryLock() {
		return nil
	}
	empty := b.empty.pop()
	b.unlock()
	return empty
}

// get takes a full sheaf, or failing that an empty one, or returns nil.
func (b *barn) get() *sheaf {
	if b.fulls() == 0 && b.empties() == 0 {
		return nil
	}
	b.mu.Lock()
	s := b.full.pop()
	if s == nil {
		s = b.empty.pop()
	}
	b.unlock()
	return s
}

// put takes in a sheaf that has nowhere else to go, whatever the limits: with
// objects to the full ones, else to the empty ones. False means that the sheaf is of
// another capacity than the barn's and still the caller's.
func (b *barn) put(s *sheaf) bool {
	b.mu.Lock()
	return b.putLocked(s)
}

// tryPut is put for callers that hold a stack's lock.
func (b *barn) tryPut(s *sheaf) bool {
	if !b.tryLock() {
		return false
	}
	return b.putLocked(s)
}

// putLocked adds s and unlocks.
func (b *barn) putLocked(s *sheaf) bool {
	s.check()
	ok := b.takes(s)
	switch {
	case !ok:
	case s.size > 0:
		b.full.push(s)
	default:
		b.empty.push(s)
	}
	b.unlock()
	return ok
}

// takes reports whether s may go to full or empty. The caller holds mu.
func (b *barn) takes(s *sheaf) bool { return s.limit == b.limit }

// drain detaches both lists (kernel: barn_shrink).
func (b *barn) drain() (full, empty list) {
	b.mu.Lock()
	return b.drainLocked()
}

// setCapacity is drain, and the barn takes sheaves of another capacity from then on.
func (b *barn) setCapacity(n int) (full, empty list) {
	b.mu.Lock()
	b.limit = uint32(n)
	return b.drainLocked()
}

// drainLocked detaches both lists and unlocks.
func (b *barn) drainLocked() (full, empty list) {
	full, empty = b.full, b.empty
	b.full, b.empty = list{}, list{}
	b.unlock()
	return full, empty
}

// excess detaches what is beyond the limits.
func (b *barn) excess(maxFull, maxEmpty int) (full, empty list) {
	b.mu.Lock()
	for b.full.n > maxFull {
		full.push(b.full.pop())
	}
	for b.empty.n > maxEmpty {
		empty.push(b.empty.pop())
	}
	b.unlock()
	return full, empty
}

// takeIdle detaches the full sheaves that nobody has missed since the last call: as many
// as were there at all times, the coldest of those that are there now.
func (b *barn) takeIdle() (idle list) {
	b.mu.Lock()
	at := &b.full.head
	for range b.full.n - b.low {
		at = &(*at).next
	}
	idle = list{*at, b.low}
	*at, b.full.n = nil, b.full.n-b.low
	b.low = b.full.n
	b.unlock()
	return idle
}

// occupancy reads the barn's content for statistics.
func (b *barn) occupancy() (o BarnStats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sortParked()
	o = BarnStats{Full: b.full.n, Empty: b.empty.n, Waiting: b.waits()}
	o.Objects = objectsIn(b.full.head)
	o.WaitingObjects = objectsIn(b.waiting) + objectsIn(b.ready.head)
	return o
}

// objectsIn sums a list of sheaves.
func objectsIn(s *sheaf) (n uint64) {
	for ; s != nil; s = s.next {
		n += uint64(s.size)
	}
	return n
}
