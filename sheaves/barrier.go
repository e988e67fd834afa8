package sheaves

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
)

// Barrier starts every CPU's rcu_free, unconditionally, and returns when every object that FreeRCU
// accepted before the call has been through Source.Reclaim (kernel: kvfree_rcu_barrier_on_cache).
// It must not be called from Reclaim or a callback of the Domain, nor by an online reader. Errors:
// that of ctx; rcu.ErrInCallback; rcu.ErrInReader.
func (s *Set) Barrier(ctx context.Context) error {
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			c.startCPU(cpu, true)
		}
	})
	if err := s.domain.Synchronize(ctx); err != nil {
		return err
	}
	// Once is enough, and other goroutines may park sheaves faster than a loop would reclaim them.
	for i := range s.barns {
		s.reclaimAll(ctx, &s.barns[i], s.barns[i].takeAll)
	}
	if err := s.reclaiming.wait(ctx); err != nil {
		return err
	}
	if s.inCallbacks.Load() > 0 {
		return s.domain.Barrier(ctx)
	}
	return nil
}

// inFlight lets Barrier wait for the goroutines that have taken a sheaf from a barn and are not
// done with it. They never wait for Barrier. Two counts alternate: newcomers use the one that
// Barrier isn't draining. Each of them is counted by CPU, as in a shardedList, so that CPUs don't
// take a cache line from each other for every sheaf.
type inFlight struct {
	mu     sync.Mutex // one wait at a time
	phase  atomic.Uint32
	_      [mem.CacheLine]byte
	active [shards]struct {
		of [2]atomic.Int64
		_  [mem.CacheLine]byte
	}
}

// A place is where enter has counted its caller: the shard, and in bit 0 the phase.
type place uint32

// enter registers the caller in the count of the current phase, or of an earlier one if waits
// change the phase between the load and the add. In both counts the next wait finds it.
func (f *inFlight) enter() place {
	at := place(shard()<<1) | place(f.phase.Load()&1)
	f.at(at).Add(1)
	return at
}

func (f *inFlight) leave(at place) { f.at(at).Add(-1) }

func (f *inFlight) at(p place) *atomic.Int64 { return &f.active[p>>1].of[p&1] }

// wait returns when every goroutine that entered before the call has left, or when ctx ends, with
// its error. Such a goroutine may be in a slow destructor.
//
// It drains both counts, the idle one first. That one has goroutines that entered late, and those
// for which an earlier wait gave up. Newcomers that load the phase do not add to the count that is
// being drained, so that both drains end. (Kernel: synchronize_srcu, both indexes.)
func (f *inFlight) wait(ctx context.Context) error {
	if err := lock.Context(ctx, &f.mu); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if err := f.drain(ctx, f.phase.Load()-1); err != nil {
		return err
	}
	return f.drain(ctx, f.phase.Add(1)-1)
}

// drain waits until the counts of a phase that is over are zero, one after the other: a goroutine
// leaves where it has entered. The caller holds mu.
func (f *inFlight) drain(ctx context.Context, old uint32) error {
	looks := 0
	for i := range f.active {
		for active := &f.active[i].of[old&1]; active.Load() != 0; looks++ {
			if looks < spins {
				runtime.Gosched()
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			time.Sleep(pause)
		}
	}
	return nil
}

// A drain looks spins times, which takes some ten microseconds, before it sleeps between looks.
const (
	spins = 100
	pause = 100 * time.Microsecond
)
