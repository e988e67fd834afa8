package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/rcu"
)

// A row is what an rcuQueue holds of one node's objects, so that those of a block go back
// to slabs of one node and nobody waits for another node's lock. (The kernel has one per
// CPU, struct kfree_rcu_cpu. There it is the way of every kfree_rcu that finds no sheaf,
// here of what is an exception, and a row that is used keeps a page.)
//
// Objects gather in open, or, when there is no block, in links. To seal either is to
// give it the token of a grace period that begins then, which is after the last object
// came in.
type row struct {
	mu          lock.Mutex
	open        *block // being filled, not full; nil for none
	first, last *block // sealed, oldest first
	links       chain  // being filled
	waiting     chain  // sealed; 0 or 1 grace period
	aged        bool   // open or links had something at the last tick
	_           [64]byte
}

// A chain links objects through their free pointers, which readers don't look at where
// they lie outside the object (kernel: the head of rcu_heads in struct kfree_rcu_cpu).
type chain struct {
	head, tail uintptr // last and first object that came in; 0 for none
	n          int
	bytes      uintptr // charged to the backlog for them, for each the same
	token      rcu.Token
}

// What push came to.
type pushed int

const (
	taken   pushed = iota
	sealed         // taken, and a block has been sealed
	noBlock        // there is no block to put it in
)

// push puts p, for which so many bytes are charged, in the open block, which is fresh where
// there is none yet. It returns fresh where that is not needed.
func (r *row) push(d *rcu.Domain, p unsafe.Pointer, bytes uintptr, fresh *block) (pushed, *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open, fresh = fresh, nil
		r.aged = false
	}
	b := r.open
	if b == nil {
		return noBlock, nil
	}
	b.objs[b.n] = p
	b.n++
	b.bytes += bytes
	if b.n < blockCap {
		return taken, fresh
	}
	r.sealOpen(d)
	return sealed, fresh
}

// sealOpen appends the open block to the sealed ones. The caller holds mu.
func (r *row) sealOpen(d *rcu.Domain) {
	b := r.open
	b.token = d.Start()
	if r.last == nil {
		r.first = b
	} else {
		r.last.next = b
	}
	r.last, r.open = b, nil
}

// link puts p in links.
func (r *row) link(l *layer, p unsafe.Pointer, bytes uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	obj := uintptr(p)
	l.setNext(obj, r.links.head)
	if r.links.head = obj; r.links.n == 0 {
		r.links.tail = obj
	}
	r.links.n++
	r.links.bytes += bytes
}

// seal begins the grace period of everything. A sealed chain that still waits is waited
// for anew only if all is wanted: were that done at every tick, a grace period longer than
// a tick would never see it out.
func (r *row) seal(d *rcu.Domain, l *layer, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open != nil {
		r.sealOpen(d)
	}
	switch {
	case r.links.n == 0 || r.waiting.n > 0 && !all:
		return
	case r.waiting.n > 0:
		l.setNext(r.links.tail, r.waiting.head)
		r.links.tail = r.waiting.tail
		r.links.n += r.waiting.n
		r.links.bytes += r.waiting.bytes
	}
	r.links.token = d.Start()
	r.waiting, r.links = r.links, chain{}
}

// age seals what was there when it was last called, and notes what is there now.
func (r *row) age(d *rcu.Domain, l *layer) {
	r.mu.Lock()
	present, aged := r.open != nil || r.links.n > 0, r.aged
	r.aged = present && !aged
	r.mu.Unlock()
	if present && aged {
		r.seal(d, l, false)
	}
}

// ready returns the oldest sealed block if its grace period is over. The caller holds
// rcuQueue.draining, and so it stays the oldest. Like readyChain it only looks, and makes no
// system call in an Alloc: whoever seals, and the timer, move grace periods on
// (Domain.Advance).
func (r *row) ready(d *rcu.Domain) *block {
	r.mu.Lock()
	oldest := r.first
	r.mu.Unlock()
	if oldest == nil || !d.Elapsed(oldest.token) {
		return nil
	}
	return oldest
}

// youngest returns the youngest sealed block, or nil. It stays in the row as long as the
// caller holds draining.
func (r *row) youngest() *block {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// drop takes the oldest sealed block off. The caller holds draining.
func (r *row) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.first
	if r.first = b.next; r.first == nil {
		r.last = nil
	}
	b.next = nil
}

// readyChain takes the sealed chain if its grace period is over; n is 0 if not. The caller
// holds draining. A Barrier may add to the chain meanwhile, and gives it another token then.
func (r *row) readyChain(d *rcu.Domain) (c chain) {
	r.mu.Lock()
	token, n := r.waiting.token, r.waiting.n
	r.mu.Unlock()
	if n == 0 || !d.Elapsed(token) {
		return chain{}
	}
	if invariants.Enabled {
		invariants.Reach(invariants.RowLeft)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting.token == token {
		c, r.waiting = r.waiting, chain{}
	}
	return c
}

// putBack seals a chain once more that readyChain has taken, unless it is empty. The caller
// holds draining.
func (r *row) putBack(l *layer, c chain) {
	if c.n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.waiting; w.n > 0 { // sealed since, and so later
		l.setNext(c.tail, w.head)
		c.tail, c.token = w.tail, w.token
		c.n += w.n
		c.bytes += w.bytes
	}
	r.waiting = c
}

func (r *row) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open == nil && r.first == nil && r.links.n == 0 && r.waiting.n == 0
}
