package sheaves

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/percpu"
)

// Barrier submits every CPU's rcu_free, unconditionally, and returns when every
// object accepted by FreeRCU before the call has been through Expire (kernel:
// kvfree_rcu_barrier_on_cache). It must not be called from Expire or a callback of
// the Domain, nor by an online reader.
func (s *Set) Barrier(ctx context.Context) error {
	for cpu := range percpu.NumCPU() {
		s.submitCPU(cpu, true)
	}
	if err := s.Domain.Synchronize(ctx); err != nil {
		return err
	}
	// Once is enough, and others may submit faster than a loop would reap.
	for i := range s.barns {
		s.reapAll(&s.barns[i], s.barns[i].takeAll)
	}
	s.expiring.wait()
	return nil
}

// inFlight lets Barrier wait for those who took a sheaf from a barn and are still
// at it, without making them wait for Barrier. Two counts alternate: newcomers use
// the one that Barrier isn't draining.
type inFlight struct {
	mu     sync.Mutex // one wait at a time
	phase  atomic.Uint32
	active [2]atomic.Int64
}

// enter registers under the current phase. Should wait flip it between the load
// and the add, it may already have seen zero there; hence the second look.
func (f *inFlight) enter() uint32 {
	for {
		phase := f.phase.Load()
		f.active[phase&1].Add(1)
		if f.phase.Load() == phase {
			return phase
		}
		f.active[phase&1].Add(-1)
	}
}

func (f *inFlight) leave(phase uint32) { f.active[phase&1].Add(-1) }

// wait returns when everybody who entered before the call has left.
func (f *inFlight) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.phase.Add(1) - 1
	for f.active[old&1].Load() != 0 {
		runtime.Gosched()
	}
}
