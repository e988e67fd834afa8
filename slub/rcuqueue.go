package slub

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
)

// An rcuQueue is where objects given to FreeRCU wait that no sheaf has taken (kernel:
// kvfree_call_rcu's machinery below the sheaves). For want of memory it falls back step
// by step, so that no object is ever lost:
//
//	a block of the pool           polled by its token
//	a block of the pool's reserve
//	a chain through the objects   where the free pointer lies outside of them
//	a grace period, waited for    the object is ended by its FreeRCU
//	a callback of the domain      where that may not wait, or has for MinWait; Go memory
//
// Sealed blocks and chains are ended by whoever gets draining: the timer, which also
// seals; an Alloc that finds no sheaf, up to drainMost objects at a time; Barrier and Close;
// and the Backlog's goroutine when it hurries. None of the first two steps allocates Go
// memory.
type rcuQueue struct {
	domain  *rcu.Domain
	backlog *sheaves.Backlog
	end     func(objs []unsafe.Pointer) // destroys and frees objects
	linked  *layer                      // whose setNext and nextDeferred link objects; nil where they can't be
	lost    func(obj uintptr)           // tells that the chain is broken behind obj
	delay   time.Duration               // bounds how long an object waits for its grace period to begin
	rows    []row

	pending  atomic.Int64               // objects given and not ended
	draining sync.Mutex                 // one at a time takes sealed ones; Barrier and Close wait, others try
	batch    [drainBatch]unsafe.Pointer // of a chain's objects, while they are ended; under draining
	timer    *time.Timer
	barring  chan struct{} // full while a Barrier is between its seal and its reapAll
	armed    atomic.Bool

	inChain, atOnce, byCallback atomic.Uint64 // objects that took the last three steps
	calling                     atomic.Int64  // of the last, those not ended
}

// init makes a queue of so many rows usable; the other fields are set.
func (q *rcuQueue) init(rows int) {
	if q.delay == 0 {
		q.delay = sheaves.DefaultDelay
	}
	q.rows = make([]row, rows)
	q.barring = make(chan struct{}, 1)
	q.timer = time.AfterFunc(time.Hour, q.tick)
	q.timer.Stop()
	q.backlog.Join(q)
}

// add takes an object of the given size. Where mayWait is false it doesn't wait.
func (q *rcuQueue) add(p unsafe.Pointer, at int, bytes uintptr, mayWait bool) {
	q.backlog.Charge(bytes, mayWait)
	q.pending.Add(1)
	if q.enqueue(p, bytes, &q.rows[at]) {
		q.arm()
		q.backlog.Relieve()
		return
	}
	q.lastResort(p, bytes, mayWait)
}

// enqueue puts an object in a block or a chain, if there is one.
func (q *rcuQueue) enqueue(p unsafe.Pointer, bytes uintptr, r *row) bool {
	result, _ := r.push(q.domain, p, bytes, nil)
	if result == noBlock {
		fresh := blocks.get()
		if invariants.Enabled {
			invariants.Reach(invariants.RowLeft)
		}
		if result, fresh = r.push(q.domain, p, bytes, fresh); fresh != nil {
			blocks.put(fresh) // another was faster
		}
	}
	if result == sealed {
		q.domain.Advance()
	}
	if result != noBlock {
		return true
	}
	if q.linked == nil {
		return false
	}
	q.inChain.Add(1)
	r.link(q.linked, p, bytes)
	return true
}

// lastResort ends an object without any memory: by waiting for its grace period here
// (kernel: kvfree_call_rcu's synchronize_rcu). Where that is not allowed, not possible
// since this is a callback, or not over in time since this may be the reader that it waits
// for, the domain's queue takes it, on the Go heap.
func (q *rcuQueue) lastResort(p unsafe.Pointer, bytes uintptr, mayWait bool) {
	if mayWait {
		ctx, cancel := context.WithTimeout(context.Background(), sheaves.MinWait)
		defer cancel()
		if q.domain.Synchronize(ctx) == nil {
			q.atOnce.Add(1)
			q.finish([]unsafe.Pointer{p}, bytes)
			return
		}
	}
	q.byCallback.Add(1)
	q.calling.Add(1)
	q.domain.Defer(func() {
		defer q.calling.Add(-1)
		q.finish([]unsafe.Pointer{p}, bytes)
	})
}

// finish ends objects whose grace period is over, for which so many bytes are charged.
// What the queue was given it counts out, whatever became of it meanwhile: what was given
// twice is charged twice.
func (q *rcuQueue) finish(objs []unsafe.Pointer, bytes uintptr) {
	q.backlog.Release(bytes)
	defer q.pending.Add(-int64(len(objs))) // should a destructor end the goroutine, too
	q.end(objs)
}

// arm sets the timer, unless it is set.
func (q *rcuQueue) arm() {
	if q.armed.CompareAndSwap(false, true) {
		q.timer.Reset(q.delay / 2)
	}
}

// tick is the timer: it seals what was there the last time already and ends what is
// ready. armed is cleared first, so that what comes while this runs is seen here or sets the
// timer anew.
func (q *rcuQueue) tick() {
	q.armed.Store(false)
	for i := range q.rows {
		q.rows[i].age(q.domain, q.linked)
	}
	q.domain.Advance()
	q.Reap()
	if q.waits() {
		q.arm()
	}
}

// waits reports whether anything is left that the timer should look at again.
func (q *rcuQueue) waits() bool {
	for i := range q.rows {
		if !q.rows[i].empty() {
			return true
		}
	}
	return false
}

// Submit implements sheaves.Member.
func (q *rcuQueue) Submit() { q.seal(false) }

func (q *rcuQueue) seal(all bool) {
	for i := range q.rows {
		q.rows[i].seal(q.domain, q.linked, all)
	}
}

// Reap implements sheaves.Member: it ends what is ready, unless somebody is at it.
func (q *rcuQueue) Reap() {
	if q.draining.TryLock() {
		defer q.draining.Unlock()
		q.reapLocked(math.MaxInt)
	}
}

// reapAll ends what is ready. Whoever was at it has ended what he took when it returns.
func (q *rcuQueue) reapAll() {
	q.draining.Lock()
	defer q.draining.Unlock()
	q.reapLocked(math.MaxInt)
}

// poll ends up to drainMost objects that are ready, unless somebody is at it.
func (q *rcuQueue) poll() {
	if q.pending.Load() > 0 && q.draining.TryLock() {
		defer q.draining.Unlock()
		q.reapLocked(drainMost)
	}
}

// reapLocked ends up to most objects that are ready, of those that are sealed now: others may
// seal faster than a loop would end them. Chains go as a whole.
func (q *rcuQueue) reapLocked(most int) {
	for i := range q.rows {
		r := &q.rows[i]
		for b, last := r.ready(q.domain), r.youngest(); b != nil && most > 0; b = r.ready(q.domain) {
			k := min(b.n, most)
			most -= k
			through := b == last && k == b.n
			if q.endBlock(r, b, k); through {
				break
			}
		}
		if most > 0 {
			q.endChain(r, r.readyChain(q.domain))
		}
	}
}

// endBlock ends k objects of a row's first sealed block. They are taken off before, and the
// block with its last: whatever a destructor does, none is called twice, and no block that
// is empty stays.
func (q *rcuQueue) endBlock(r *row, b *block, k int) {
	objs, bytes := b.take(k)
	if b.n == 0 {
		r.drop()
		defer blocks.put(b) // later, for it is where objs lie
	}
	q.finish(objs, bytes)
}

// endChain ends the objects of a row's chain in batches. What is left when a destructor ends
// the goroutine goes back.
func (q *rcuQueue) endChain(r *row, c chain) {
	if c.n == 0 {
		return
	}
	defer func() { r.putBack(q.linked, c) }()
	batch, each := q.batch[:], c.bytes/uintptr(c.n)
	for c.n > 0 {
		k := 0
		for k < len(batch) && c.n > 0 {
			obj := c.head
			next, ok := q.linked.nextDeferred(obj) // before obj is free
			batch[k] = mem.Ptr(obj)
			k++
			c.n--
			if c.head = next; c.n > 0 && (!ok || next == 0) {
				q.lost(obj)
				q.backlog.Release(c.bytes - uintptr(k)*each)
				q.pending.Add(-int64(c.n))
				c.n = 0
			}
		}
		c.bytes = uintptr(c.n) * each
		q.finish(batch[:k], uintptr(k)*each)
	}
}

// Barrier returns when every object given before the call is ended. Rules and errors as
// for Cache.Barrier, but for the text.
func (q *rcuQueue) Barrier(ctx context.Context) error {
	if q.pending.Load() == 0 {
		return nil
	}
	select {
	case q.barring <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another Barrier is under way: %w", ctx.Err())
	}
	if err := q.sealAndReap(ctx); err != nil {
		return err
	}
	if q.calling.Load() > 0 {
		return q.domain.Barrier(ctx)
	}
	return nil
}

// sealAndReap is Barrier's part that fills barring.
func (q *rcuQueue) sealAndReap(ctx context.Context) error {
	defer func() { <-q.barring }() // should a destructor end the goroutine, too
	q.seal(true)
	if err := q.domain.Synchronize(ctx); err != nil {
		return err
	}
	q.reapAll()
	return nil
}

// Close is Barrier until nothing is left: destructors may have given more. Nobody calls
// the queue any more from then on, unless something is given to it again. Errors as Barrier;
// Close may then be called again.
func (q *rcuQueue) Close(ctx context.Context) error {
	for q.waits() || q.calling.Load() > 0 {
		if err := q.Barrier(ctx); err != nil {
			return err
		}
	}
	q.reapAll() // who has taken a chain, or a block's last, which waits doesn't see, is through with it
	q.timer.Stop()
	q.armed.Store(false)
	q.backlog.Leave(q)
	return nil
}
