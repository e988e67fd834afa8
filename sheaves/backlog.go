package sheaves

import (
	"context"

	"github.com/slubd/slubd/internal/backlog"
)

// A Backlog counts the bytes that wait for grace periods and bounds them. slub's bounds a cache or
// all that share one.
//
// The Set charges a sheaf as a whole when it becomes a CPU's rcu_free, before it holds anything:
// what the fast path pushes there is paid for. So only one FreeRCU in a sheaf's capacity ever calls
// the Backlog.
//
//	charged = capacity of the rcu_free sheaves on CPUs + content of waiting and ready ones,
//	          times Config.ObjectSize
type Backlog interface {
	// TryCharge adds n bytes unless a limit forbids it. It is called under a stack's lock: it takes
	// no lock and wakes no goroutine.
	TryCharge(n int64) bool
	// Charge adds n bytes in any case. At a limit it may wait as w says. The caller holds no lock.
	Charge(n int64, w Wait)
	// Adjust replaces a charge of from bytes by one of to bytes. It is called under a stack's lock,
	// as TryCharge is.
	Adjust(from, to int64)
	// Release takes off n bytes that were charged. It is called under a stack's lock.
	Release(n int64)
	// CheckSoftLimit is called after a charge, when what it was for is in its place and no lock is
	// held. It may start a goroutine that calls all Queues.
	CheckSoftLimit()
	// Add makes a Queue known. Remove undoes that: when it returns nil, q is not being called and
	// will not be. Its error is ctx's, if that ends first; then q stays known.
	Add(q Queue)
	Remove(ctx context.Context, q Queue) error
}

// A Wait says how long TryFreeRCU may wait at the Backlog's limit: NoWait, MayWait, or the result
// of WaitFor.
type Wait = backlog.Wait

var (
	NoWait  = backlog.NoWait  // not at all
	MayWait = backlog.MayWait // as long as the Backlog's config says
)

// WaitFor returns a Wait that lasts as long as ctx.
func WaitFor(ctx context.Context) Wait { return backlog.WaitFor(ctx) }

// A Queue holds what a Backlog counts. A Set is one.
type Queue = interface {
	// StartAll starts the grace period of everything in the queue that has none yet.
	StartAll()
	// ReclaimReady reclaims everything whose grace period is over.
	ReclaimReady()
}

// StartAll starts the grace period of every CPU's rcu_free, however full. Any goroutine, holding no
// lock.
func (s *Set) StartAll() {
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			c.startCPU(cpu, false)
		}
	})
}

// ReclaimReady reclaims every sheaf whose grace period is over. Destructors run. Any goroutine,
// holding no lock.
func (s *Set) ReclaimReady() {
	for i := range s.barns {
		s.reclaimAll(context.Background(), &s.barns[i], s.barns[i].takeAll)
	}
}
