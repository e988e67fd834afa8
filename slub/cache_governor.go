package slub

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/percpu"
)

// A governor keeps the time that samples take within a share of each CPU's time. A CPU can allocate
// 100 GiB a second from one cache, and a sample for each 512 KiB of it would take a tenth of its
// time. So the mean distance of samples is doubled on a CPU that takes them too often, and halved
// when it takes them seldom. A sample stands for as many allocations as the mean at which it was
// picked says, so the estimates stay right; they have fewer samples.
//
// Guarded objects are governed in the same way, with a distance and a share of their own: otherwise
// each kind would thin the other out.
type governor struct{ cpus [governed]cpuPaces }

// cpuPaces are a governor's states of one CPU.
type cpuPaces struct {
	samples, guards cpuPace
	_               [32]byte
}

// A cpuPace is a governor's state of one CPU, for samples or for guarded objects.
type cpuPace struct {
	last  atomic.Int64 // when the latest one ended, in ns since begin
	level atomic.Int32 // the distance is multiplied by 1<<level
}

const (
	governed = 256 // CPUs beyond share the state of others
	maxLevel = 16
	// A sample that takes t comes no sooner than about 400 t after the one before, on average. As
	// much time again goes into the free of the object, picks that are dropped, and what samples
	// displace from the processor's caches.
	tooSoon, tooLate = 250, 1000
)

var (
	pace  governor
	begin = time.Now()
)

// here returns the states of the calling CPU.
func (g *governor) here() *cpuPaces { return &g.cpus[percpu.CPU()%governed] }

// took notes that the calling CPU has taken a sample since start.
func (g *governor) took(start time.Time) { g.here().samples.took(start.Sub(begin), time.Since(begin)) }

// guardWeight is what the time of allocating a guarded object counts for. Its free takes as long,
// and guards a page, which interrupts the other CPUs that run the process; and guards have half of
// the share that samples have.
const guardWeight = 4

// tookGuarded is took for a guarded object.
func (g *governor) tookGuarded(start time.Time) {
	end := time.Since(begin)
	g.here().guards.took(end-guardWeight*(end-start.Sub(begin)), end)
}

// share returns what is left of a rate: 1 divided by the factor of the mean distance.
func (p *cpuPace) share() float64 { return 1 / float64(uint64(1)<<p.level.Load()) }

// took notes that a sample has taken from start to end, both since begin. Where goroutines or
// threads run into each other here the level is off by one for a while.
func (p *cpuPace) took(start, end time.Duration) {
	cost, since := end-start, end-time.Duration(p.last.Swap(int64(end)))
	switch level := p.level.Load(); {
	case since < tooSoon*cost && level < maxLevel:
		p.level.Store(level + 1)
	case since > tooLate*cost && level > 0:
		p.level.Store(level - 1)
	}
}
