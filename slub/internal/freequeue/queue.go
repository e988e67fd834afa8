package freequeue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/rcu"
)

// Config says what Init makes.
type Config struct {
	// Domain provides the grace periods.
	Domain *rcu.Domain
	// Backlog counts the bytes that wait. The Queue is one of its queues until Close.
	Backlog *backlog.Backlog
	// Reclaim is given objects whose grace period is over: it destroys and frees them. If it
	// doesn't return, because a destructor or hook panics or ends its goroutine, it has dealt with
	// all of them nevertheless. It may reorder objs and must not keep it.
	Reclaim func(objs []unsafe.Pointer)
	// Links links objects through their free pointers; nil where readers may look at these.
	Links Links
	// Lost is told that the link of obj is broken, so that the objects behind it can't be found.
	Lost func(obj uintptr)
	// Delay bounds how long an object waits for its grace period to start.
	Delay time.Duration
	// Nodes is the number of nodes.
	Nodes int
}

// Links are the free pointers of the objects.
type Links interface {
	// SetNext makes obj link to next; 0 ends a chain.
	SetNext(obj, next uintptr)
	// Next returns what obj links to. ok is false if that is neither 0 nor an object.
	Next(obj uintptr) (next uintptr, ok bool)
}

// A Queue holds objects until a grace period is over. Init makes it usable. Any goroutine may call
// all methods but Init.
type Queue struct {
	cfg   Config
	nodes []nodeQueue
	timer lazytimer.Timer

	given      atomic.Int64             // objects ever given to Add
	putBack    atomic.Int64             // objects ever given to PutBack
	done       atomic.Int64             // of both, those that Reclaim has dealt with
	reclaiming sync.Mutex               // one goroutine at a time takes what is ready
	batch      [batchCap]unsafe.Pointer // for objects of a chain; under reclaiming
	barrier    chan struct{}            // full while a Barrier is between its start and its reclaim
	callbacks  atomic.Int64             // objects whose callback has not run
	stats      struct{ linked, waited, callback atomic.Uint64 }
}

// batchCap is how many objects of a chain are reclaimed together.
const batchCap = 32

// MaxPoll is how many objects a Poll reclaims at most: about as many as an Alloc's refill would
// have fetched.
const MaxPoll = 64

// Init makes a Queue usable.
func (q *Queue) Init(cfg Config) {
	q.cfg = cfg
	q.nodes = make([]nodeQueue, cfg.Nodes)
	q.barrier = make(chan struct{}, 1)
	q.timer.Init(q.tick)
	cfg.Backlog.Add(q)
}

// Add takes an object of the node with the given index, and charges bytes for it. At the backlog's
// hard limit it waits as w says, and if it may wait at all, for a grace period when there is no
// memory. It takes the node's lock for a few stores. The caller holds no lock that a destructor
// takes.
func (q *Queue) Add(p unsafe.Pointer, node int, bytes int64, w backlog.Wait) {
	q.cfg.Backlog.Charge(bytes, w)
	q.given.Add(1)
	q.add(p, node, bytes, w)
}

// PutBack takes an object for which Reclaim has not done anything, since a destructor before it
// didn't return. It waits for another grace period. PutBack never waits itself.
func (q *Queue) PutBack(p unsafe.Pointer, node int, bytes int64) {
	q.cfg.Backlog.Charge(bytes, backlog.NoWait)
	q.putBack.Add(1)
	q.add(p, node, bytes, backlog.NoWait)
}

func (q *Queue) add(p unsafe.Pointer, node int, bytes int64, w backlog.Wait) {
	if q.enqueue(p, bytes, &q.nodes[node]) {
		q.Arm()
		q.cfg.Backlog.CheckSoftLimit()
		return
	}
	q.lastResort(p, bytes, w.May())
}

// enqueue puts an object in a page or a chain, and reports whether there was one.
func (q *Queue) enqueue(p unsafe.Pointer, bytes int64, n *nodeQueue) bool {
	result, _ := n.push(q.cfg.Domain, p, bytes, nil)
	if result == noPageAtAll {
		fresh := pages.get()
		if invariants.Enabled {
			invariants.Reach(invariants.NodeQueueLeft)
		}
		if result, fresh = n.push(q.cfg.Domain, p, bytes, fresh); fresh != nil {
			pages.put(fresh) // another goroutine was faster
		}
	}
	if result == pushedLast {
		q.cfg.Domain.Advance()
	}
	if result != noPageAtAll {
		return true
	}
	if q.cfg.Links == nil {
		return false
	}
	q.stats.linked.Add(1)
	n.link(q.cfg.Links, p, bytes)
	return true
}

// lastResort reclaims an object without any memory, by waiting for its grace period here (kernel:
// kvfree_call_rcu's synchronize_rcu). The domain's queue takes the object, on the Go heap, where
// that is not allowed, or not possible because this is a callback, or not over in time because
// this may be the reader that it waits for. While objects are there whose time has run out, no
// other call waits: a reader that has not reported in a tenth of a second will not in the next.
func (q *Queue) lastResort(p unsafe.Pointer, bytes int64, mayWait bool) {
	if mayWait && q.callbacks.Load() == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), backlog.MinWait)
		defer cancel()
		if q.cfg.Domain.Synchronize(ctx) == nil {
			q.stats.waited.Add(1)
			q.reclaim([]unsafe.Pointer{p}, bytes)
			return
		}
	}
	q.stats.callback.Add(1)
	q.callbacks.Add(1)
	q.cfg.Domain.Defer(func() {
		defer q.callbacks.Add(-1)
		q.reclaim([]unsafe.Pointer{p}, bytes)
	})
}

// Arm sets the timer unless it is set. Add does so itself. Reclaim calls it when a destructor has
// ended its goroutine, for what is left.
func (q *Queue) Arm() { q.timer.Arm(q.cfg.Delay / 2) }

// tick is what the timer calls. It starts what was open at the last tick already, and reclaims
// what is ready.
func (q *Queue) tick() {
	defer func() { // even if a callback ends the goroutine
		if !q.isEmpty() {
			q.Arm()
		}
	}()
	for i := range q.nodes {
		q.nodes[i].age(q.cfg.Domain, q.cfg.Links)
	}
	q.cfg.Domain.Advance()
	q.ReclaimReady()
	for i := range q.nodes {
		if t := q.nodes[i].startedToken(); t != 0 {
			q.cfg.Domain.Poll(t) // looks for stalls, now and then, which nothing else may do
		}
	}
}

// isEmpty reports whether nothing is left that the timer should look at again. It doesn't count
// what a goroutine that reclaims has taken.
func (q *Queue) isEmpty() bool {
	for i := range q.nodes {
		if !q.nodes[i].isEmpty() {
			return false
		}
	}
	return true
}

// NodeEmpty reports whether nothing is open or started for the node with the given index. For
// tests.
func (q *Queue) NodeEmpty(node int) bool { return q.nodes[node].isEmpty() }

// Given returns how many objects Add was ever given.
func (q *Queue) Given() int64 { return q.given.Load() }

// Pending returns how many objects have been given, or put back, and are not reclaimed. It is never
// less than those given before the call.
func (q *Queue) Pending() int64 {
	done := q.done.Load() // first, since it grows
	return q.given.Load() + q.putBack.Load() - done
}

// Stats counts the objects for which there was no page, by what became of them.
type Stats struct {
	Linked   uint64 // linked through their free pointers
	Waited   uint64 // Add waited for their grace period
	Callback uint64 // a callback of the domain, on the Go heap
}

// Stats reads the counters.
func (q *Queue) Stats() Stats {
	return Stats{Linked: q.stats.linked.Load(), Waited: q.stats.waited.Load(), Callback: q.stats.callback.Load()}
}
