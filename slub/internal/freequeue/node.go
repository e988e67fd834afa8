package freequeue

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/rcu"
)

// A nodeQueue is what a Queue holds of one node's objects: those of a page then go back to slabs
// of one node, and no goroutine waits for another node's lock. (The kernel has a queue per CPU,
// struct kfree_rcu_cpu. There every kfree_rcu that finds no sheaf takes it; here it is an
// exception, and a nodeQueue in use keeps a page.)
//
// Objects gather in openPage, or, when there is no page, in openChain. To start either is to
// give it the token of a grace period that begins then, after the last object came in.
type nodeQueue struct {
	mu           lock.Mutex
	openPage     *ptrPage // being filled, not full; nil for none
	first, last  *ptrPage // started, oldest first
	openChain    chain    // being linked
	startedChain chain    // has one token for all
	aged         bool     // openPage or openChain had something at the last tick
	_            [64]byte
}

// A chain links objects through their free pointers. Readers don't look at these, as they lie
// outside the objects (kernel: the head of rcu_heads in struct kfree_rcu_cpu).
type chain struct {
	head, tail uintptr // last and first object that came in; 0 for none
	n          int
	bytes      int64 // charged to the backlog for them, the same for each
	token      rcu.Token
}

// pushResult says what push has done.
type pushResult int

const (
	pushed      pushResult = iota
	pushedLast             // pushed, and the page is full and started
	noPageAtAll            // there is no page to put the object in
)

// push puts p, for which the given bytes are charged, in the open page. If there is none, fresh
// becomes the open page. It returns fresh if that is not needed.
func (q *nodeQueue) push(d *rcu.Domain, p unsafe.Pointer, bytes int64, fresh *ptrPage) (pushResult, *ptrPage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.openPage == nil {
		q.openPage, fresh = fresh, nil
		q.aged = false
	}
	page := q.openPage
	if page == nil {
		return noPageAtAll, nil
	}
	page.objs[page.n] = p
	page.n++
	page.bytes += bytes
	if page.n < PageCap {
		return pushed, fresh
	}
	q.startPage(d)
	return pushedLast, fresh
}

// startPage starts the open page and appends it to the started ones. The caller holds mu.
func (q *nodeQueue) startPage(d *rcu.Domain) {
	page := q.openPage
	page.token = d.Start()
	if q.last == nil {
		q.first = page
	} else {
		q.last.next = page
	}
	q.last, q.openPage = page, nil
}

// link puts p in the open chain.
func (q *nodeQueue) link(l Links, p unsafe.Pointer, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	obj := uintptr(p)
	l.SetNext(obj, q.openChain.head)
	if q.openChain.head = obj; q.openChain.n == 0 {
		q.openChain.tail = obj
	}
	q.openChain.n++
	q.openChain.bytes += bytes
}

// start starts the open page and chain. If a started chain still waits, the open chain joins it
// only if all is set, and both then wait for a later grace period: were that done at every tick,
// a grace period that takes longer than a tick would never end for the chain.
func (q *nodeQueue) start(d *rcu.Domain, l Links, all bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.openPage != nil {
		q.startPage(d)
	}
	switch {
	case q.openChain.n == 0 || q.startedChain.n > 0 && !all:
		return
	case q.startedChain.n > 0:
		l.SetNext(q.openChain.tail, q.startedChain.head)
		q.openChain.tail = q.startedChain.tail
		q.openChain.n += q.startedChain.n
		q.openChain.bytes += q.startedChain.bytes
	}
	q.openChain.token = d.Start()
	q.startedChain, q.openChain = q.openChain, chain{}
}

// age starts what was open at its last call already, and notes what is open now.
func (q *nodeQueue) age(d *rcu.Domain, l Links) {
	q.mu.Lock()
	present, aged := q.openPage != nil || q.openChain.n > 0, q.aged
	q.aged = present && !aged
	q.mu.Unlock()
	if present && aged {
		q.start(d, l, false)
	}
}

// readyPage returns the oldest started page if its grace period is over. The caller holds
// Queue.reclaiming, so it stays the oldest. Like takeReadyChain it only looks, and makes no system
// call in an Alloc: whatever starts a page, and the timer, move grace periods on
// (Domain.Advance).
func (q *nodeQueue) readyPage(d *rcu.Domain) *ptrPage {
	q.mu.Lock()
	oldest := q.first
	q.mu.Unlock()
	if oldest == nil || !d.PollNoAdvance(oldest.token) {
		return nil
	}
	return oldest
}

// startedToken returns the token of the oldest started page or of the started chain, or 0 if there
// is neither.
func (q *nodeQueue) startedToken() rcu.Token {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.first != nil:
		return q.first.token
	case q.startedChain.n > 0:
		return q.startedChain.token
	}
	return 0
}

// youngest returns the youngest started page, or nil. It stays in the nodeQueue as long as the
// caller holds Queue.reclaiming.
func (q *nodeQueue) youngest() *ptrPage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// removeFirst removes the oldest started page. The caller holds Queue.reclaiming.
func (q *nodeQueue) removeFirst() {
	q.mu.Lock()
	defer q.mu.Unlock()
	page := q.first
	if q.first = page.next; q.first == nil {
		q.last = nil
	}
	page.next = nil
}

// takeReadyChain removes and returns the started chain if its grace period is over; otherwise n
// is 0. The caller holds Queue.reclaiming. A Barrier may add to the chain between the look at its
// token and the removal; it then has another token.
func (q *nodeQueue) takeReadyChain(d *rcu.Domain) (c chain) {
	q.mu.Lock()
	token, n := q.startedChain.token, q.startedChain.n
	q.mu.Unlock()
	if n == 0 || !d.PollNoAdvance(token) {
		return chain{}
	}
	if invariants.Enabled {
		invariants.Reach(invariants.NodeQueueLeft)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.startedChain.token == token {
		c, q.startedChain = q.startedChain, chain{}
	}
	return c
}

// putBack makes what is left of a chain from takeReadyChain the started chain again. The caller
// holds Queue.reclaiming.
func (q *nodeQueue) putBack(l Links, c chain) {
	if c.n == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.startedChain; s.n > 0 { // started since, so its token is the later one
		l.SetNext(c.tail, s.head)
		c.tail, c.token = s.tail, s.token
		c.n += s.n
		c.bytes += s.bytes
	}
	q.startedChain = c
}

func (q *nodeQueue) isEmpty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.openPage == nil && q.first == nil && q.openChain.n == 0 && q.startedChain.n == 0
}
