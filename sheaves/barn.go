package sheaves

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/rcu"
)

// A barn is where the CPUs of one node exchange sheaves (kernel: struct node_barn). Its lists are
// LIFO, so that the hottest sheaf is taken first, and a CPU gets its own sheaves before those of
// others.
//
// All that its CPUs write lies in barnWords, in memory of their node. The barn itself is in Go's
// heap, and constant. The words are used again when nothing refers to the Set's barns any more (see
// package nodemem). So every method keeps the barn alive until it is done with the words: those
// that hold mu by their unlock, the others by themselves.
type barn struct {
	*barnWords
	reclaimExcess func() // a callback, made once so that queueing it allocates no closure
}

// barnWords are what changes of a barn. No pointer in it leads into Go's heap.
type barnWords struct {
	mu          lock.Mutex
	full, empty shardedList
	limit       uint32 // capacity of the sheaves in full and empty
	_           [64]byte

	// Copies of the lists' lengths, so that a CPU that has nothing to gain stays off the mutex.
	// Written under mu, read without it.
	nrFull, nrEmpty uint32

	armed atomic.Bool // reclaimExcess is queued

	waitLists // sheaves that wait for a grace period

	_ [mem.CacheLine + 72]byte // keeps the next node's barn on another line, in Go's heap
}

// Barns lie side by side in a node's memory, each on lines of its own.
const _ = -(unsafe.Sizeof(barnWords{}) % nodemem.Align)

// initBarns makes the barns.
func (s *Set) initBarns(cfg *Config) {
	s.barns = make([]barn, cfg.Nodes)
	memory, owner := (*nodemem.Nodes)(cfg.NodeMemory), &s.barns[0]
	for i, words := range nodemem.Make[barnWords](memory, cfg.Nodes, owner) {
		b := &s.barns[i]
		b.barnWords = words
		b.limit = uint32(cfg.Capacity)
		b.reclaimExcess = func() { s.reclaimExcess(b) }
	}
}

// tries bounds how often the holder of a stack's lock asks for the mutex. A holder of the mutex
// needs some tens of nanoseconds unless it is descheduled.
const tries = 32

func (b *barn) tryLock() bool {
	for range tries {
		if b.mu.TryLock() {
			b.held()
			return true
		}
	}
	return false
}

// unlock publishes the lengths and unlocks.
func (b *barn) unlock() {
	b.held()
	mem.Store32(&b.nrFull, uint32(b.full.n))
	mem.Store32(&b.nrEmpty, uint32(b.empty.n))
	b.mu.Unlock()
	runtime.KeepAlive(b)
}

// held lets tests interrupt a holder of mu.
func (b *barn) held() {
	if invariants.Enabled {
		invariants.Reach(invariants.BarnHeld)
	}
}

// fulls and empties are the lengths of full and empty.
func (b *barn) fulls() int   { return b.length(&b.nrFull) }
func (b *barn) empties() int { return b.length(&b.nrEmpty) }

func (b *barn) length(of *uint32) int {
	n := atomic.LoadUint32(of)
	runtime.KeepAlive(b)
	return int(n)
}

// What follows are the methods of waitLists.

func (b *barn) park(s *sheaf, cpu int) {
	b.waitLists.park(s, cpu)
	runtime.KeepAlive(b)
}

func (b *barn) waits() (n int) {
	n = b.waitLists.waits()
	runtime.KeepAlive(b)
	return n
}

func (b *barn) anyWaiting() (any bool) {
	any = b.waitLists.anyWaiting()
	runtime.KeepAlive(b)
	return any
}

func (b *barn) moreThan(most, cpu int) (more bool) {
	more = b.waitLists.moreThan(most, cpu)
	runtime.KeepAlive(b)
	return more
}

func (b *barn) takeReady(d *rcu.Domain) *sheaf { return b.takeBy((*waitLists).takeReady, d) }

func (b *barn) takeYoungest(d *rcu.Domain) *sheaf { return b.takeBy((*waitLists).takeYoungest, d) }

func (b *barn) takeStale(d *rcu.Domain) *sheaf { return b.takeBy((*waitLists).takeStale, d) }

func (b *barn) takeAll(d *rcu.Domain) *sheaf { return b.takeBy((*waitLists).takeAll, d) }

func (b *barn) takeBy(from func(*waitLists, *rcu.Domain) *sheaf, d *rcu.Domain) *sheaf {
	s := from(&b.waitLists, d)
	runtime.KeepAlive(b)
	return s
}

// replaceEmpty trades empty for a full sheaf, or returns nil. It ignores the limit of empty
// sheaves: a trade leaves the number of sheaves as it is. It may be called under a stack's lock
// (kernel: barn_replace_empty_sheaf). An empty sheaf of a stale capacity could neither be kept nor
// be freed under that lock: it is not traded.
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

// A refusal says why replaceFull refused.
type refusal int

const (
	accepted refusal = iota
	tooMany          // the barn has as many full sheaves as it keeps (kernel: E2BIG)
	noEmpty          // no empty sheaf to trade for (ENOMEM)
	noSpare          // there is no spare either: no full sheaf was offered
	busy             // the mutex was held (EBUSY), or the sheaf's capacity is stale
)

// replaceFull trades full for an empty sheaf. It may be called under a stack's lock (kernel:
// barn_replace_full_sheaf).
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

// getEmpty takes an empty sheaf, or returns nil. It may be called under a stack's lock.
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

// put takes in a sheaf that has nowhere else to go, whatever the limits: to the full ones if it has
// objects, else to the empty ones. False means that the sheaf is of another capacity than the
// barn's and still the caller's.
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

// setCapacity drains the barn, which takes only sheaves of the new capacity from then on.
func (b *barn) setCapacity(n int) (full, empty list) {
	b.mu.Lock()
	b.limit = uint32(n)
	return b.drainLocked()
}

// drainLocked detaches both lists and unlocks.
func (b *barn) drainLocked() (full, empty list) {
	full, empty = b.full.takeAll(), b.empty.takeAll()
	b.unlock()
	return full, empty
}

// excess detaches what is beyond the limits.
func (b *barn) excess(maxFull, maxEmpty int) (full, empty list) {
	b.mu.Lock()
	for b.full.n > maxFull {
		full.push(b.full.popLongest())
	}
	for b.empty.n > maxEmpty {
		empty.push(b.empty.popLongest())
	}
	b.unlock()
	return full, empty
}

// takeIdle detaches the full sheaves that no CPU has missed since the last call.
func (b *barn) takeIdle() (idle list) {
	b.mu.Lock()
	idle = b.full.takeIdle()
	b.unlock()
	return idle
}

// occupancy reads the barn's content for statistics.
func (b *barn) occupancy() (o BarnStats) {
	b.mu.Lock()
	o = BarnStats{Full: b.full.n, Empty: b.empty.n}
	b.full.all(func(s *sheaf) { o.Objects += uint64(s.size) })
	b.mu.Unlock()
	b.waitLists.addTo(&o)
	runtime.KeepAlive(b)
	return o
}

// objectsIn sums a list of sheaves.
func objectsIn(s *sheaf) (n uint64) {
	for ; s != nil; s = s.next {
		n += uint64(s.size)
	}
	return n
}
