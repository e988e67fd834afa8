package sheaves

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// park submits a stamped sheaf. Called under the stack's lock that its objects
// came from: once that is free, whoever looks for them finds them here.
func (b *barn) park(s *sheaf) {
	b.nrParked.Add(1)
	for {
		head := b.parked.Load()
		s.next = head
		if b.parked.CompareAndSwap(head, s) {
			return
		}
	}
}

// takeReady takes the sheaf whose grace period was the last to end, or returns nil.
// The youngest is the one whose objects the caches may still hold; the oldest are
// what a burst has left over, and takeStale's.
func (b *barn) takeReady(d *rcu.Domain) *sheaf {
	if !b.anyWaiting() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sortReady(d)
	s := b.ready.pop()
	b.left(s)
	return s
}

// takeStale takes all sheaves whose grace period is over and that were there at the
// last call already, linked by next. One caller at a time (Set.ticking).
func (b *barn) takeStale(d *rcu.Domain) (stale *sheaf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sortReady(d)
	// From its top on, ready grows older. Tokens wrap.
	keep, at := 0, &b.ready.head
	for *at != nil && (b.mark == 0 || int64(b.mark-(*at).token) < 0) {
		at = &(*at).next
		keep++
	}
	stale, *at = *at, nil
	b.ready.n = keep
	b.left(stale)
	if b.last != nil {
		b.mark = b.last.token
	} else if b.ready.head != nil {
		b.mark = b.ready.head.token
	}
	return stale
}

// takeAll takes all sheaves whose grace period is over, linked by next.
func (b *barn) takeAll(d *rcu.Domain) (all *sheaf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sortReady(d)
	all, b.ready = b.ready.head, list{}
	b.left(all)
	return all
}

// left counts the chain of sheaves that leave ready. The caller holds mu.
func (b *barn) left(s *sheaf) {
	n := b.nrWaiting
	for ; s != nil; s = s.next {
		n--
	}
	mem.Store32(&b.nrWaiting, n)
}

// sortReady moves parked sheaves to waiting, and those whose grace period is over on
// to ready. The caller holds mu, and so only looks: whoever submits, and the timer, move
// grace periods on (Domain.Advance).
func (b *barn) sortReady(d *rcu.Domain) {
	b.sortParked()
	for s := b.waiting; s != nil && d.Elapsed(s.token); s = b.waiting {
		if b.waiting = s.next; b.waiting == nil {
			b.last = nil
		}
		b.ready.push(s)
	}
}

// sortParked appends the parked sheaves to waiting in the order they were
// submitted. The caller holds mu.
func (b *barn) sortParked() {
	b.reached()
	var oldest, youngest *sheaf
	var arrived int32
	for s := b.parked.Swap(nil); s != nil; {
		next := s.next
		if s.next = oldest; oldest == nil {
			youngest = s
		}
		oldest, s = s, next
		arrived++
	}
	// In this order, lest somebody see none at all in between.
	mem.Store32(&b.nrWaiting, b.nrWaiting+uint32(arrived))
	b.nrParked.Add(-arrived)
	switch {
	case oldest == nil:
		return
	case b.last == nil:
		b.waiting = oldest
	default:
		b.last.next = oldest
	}
	b.last = youngest
}
