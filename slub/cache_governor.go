package slub

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/internal/percpu"
)

// A governor keeps the time that samples take within a share of each CPU's time. A CPU can allocate
// 100 GiB a second from one cache, and a sample for each 512 KiB of it would take a tenth of its
// time. So the mean distance of samples is doubled on a CPU that takes them too often, and halved
// when it takes them seldom. A sample stands for as many allocations as the mean at which it was
// picked says, so the estimates stay right; they have fewer samples.
//
// A program that allocates 50 MiB at once and keeps them wants to see that. So a CPU may take a
// hundred samples or two in a row before their distance grows: it saves the time that it has not
// used. And where samples no longer come because their distance is large, a timer makes it smaller
// again.
//
// Guarded objects are governed in the same way, with a distance and a share of their own: otherwise
// each kind would thin the other out.
type governor struct {
	cpus [governed]cpuPaces
	// epoch counts how often a distance was made smaller. It is added to after the level is stored.
	// It pairs with sheaves.Set.renew and localState.renew, which load it first, then the level:
	// whatever has the new epoch draws with the new level, or a newer one.
	epoch atomic.Uint32
	timer lazytimer.Timer // runs relax while a level is above 0
}

// cpuPaces are a governor's states of one CPU.
type cpuPaces struct {
	samples, guards cpuPace
	_               [64]byte
}

// A cpuPace is a governor's state of one CPU, for samples or for guarded objects.
type cpuPace struct {
	last  atomic.Int64 // when the latest one ended, in ns since begin
	cost  atomic.Int64 // of the latest one, in ns
	spent atomic.Int64 // time of samples that the CPU has not saved up for, in ns
	level atomic.Int32 // the distance is multiplied by 1<<level
}

const (
	governed = 256 // CPUs beyond share the state of others
	maxLevel = 16
	// A CPU saves a share of 1/saved of its time, so that a sample that takes t comes about
	// saved*t after the one before, on average. Several times as much time goes into the free of
	// the object, picks that are dropped, and what samples displace from the processor's caches.
	tooSoon, saved, tooLate = 500, 1000, 2000
	// It saves up to maxSaved: enough for the samples of about a hundred MiB.
	maxSaved = 300 * time.Microsecond
	// A sample, or a guarded object, that seems to take longer was interrupted.
	maxCost, maxGuardCost = 20 * time.Microsecond, 100 * time.Microsecond
	// A CPU whose samples no longer come gets smaller distances after so much time.
	relaxPeriod = 25 * time.Millisecond
)

var (
	pace  governor
	begin = time.Now()
)

func init() { pace.timer.Init(pace.relax) }

// here returns the states of the calling CPU.
func (g *governor) here() *cpuPaces { return &g.cpus[percpu.CPU()%governed] }

// took notes that the calling CPU has taken a sample since start.
func (g *governor) took(start time.Time) {
	end := time.Since(begin)
	g.changed(g.here().samples.took(min(end-start.Sub(begin), maxCost), end))
}

// guardWeight is what the time of allocating a guarded object counts for. Its free takes as long,
// and guards a page, which interrupts the other CPUs that run the process; and guards have half of
// the share that samples have.
const guardWeight = 4

// tookGuarded is took for a guarded object.
func (g *governor) tookGuarded(start time.Time) {
	end := time.Since(begin)
	g.changed(g.here().guards.took(guardWeight*min(end-start.Sub(begin), maxGuardCost), end))
}

// changed does what follows from a change of a level.
func (g *governor) changed(by int32) {
	switch {
	case by < 0:
		g.epoch.Add(1)
	case by > 0:
		g.timer.Arm(relaxPeriod)
	}
}

// relax makes the distances of CPUs smaller that have taken no sample for a long time. It costs
// nothing while all levels are 0.
func (g *governor) relax() {
	now := time.Since(begin)
	for i := range min(percpu.NumCPU(), governed) {
		cpu := &g.cpus[i]
		for _, p := range []*cpuPace{&cpu.samples, &cpu.guards} {
			g.changed(p.relax(now))
			if p.level.Load() > 0 {
				g.timer.Arm(relaxPeriod)
			}
		}
	}
}

// share returns what is left of a rate: 1 divided by the factor of the mean distance.
func (p *cpuPace) share() float64 { return 1 / float64(uint64(1)<<p.level.Load()) }

// took notes that a sample has ended that took cost, and returns by how much the level has changed.
// Where goroutines or threads run into each other here the level is off by one for a while.
func (p *cpuPace) took(cost, end time.Duration) (change int32) {
	cost = max(1, cost)
	since := max(0, end-time.Duration(p.last.Swap(int64(end))))
	p.cost.Store(int64(cost))
	spent := max(0, time.Duration(p.spent.Load())-since/saved) + cost
	if spent > maxSaved {
		spent = maxSaved
		if level := p.level.Load(); since < tooSoon*cost && level < maxLevel {
			p.level.Store(level + 1)
			change = 1
		}
	}
	p.spent.Store(int64(spent))
	if change == 0 {
		change = p.lower(since, cost)
	}
	return change
}

// relax is took for a CPU that has taken none. The cost is 0 if the CPU is taking its first one at
// this moment, after which lower may find a level.
func (p *cpuPace) relax(now time.Duration) (change int32) {
	return p.lower(now-time.Duration(p.last.Load()), time.Duration(max(1, p.cost.Load())))
}

// lower makes the level such that samples would have come in time, if they have not come since
// then: half of a distance is half of a time.
func (p *cpuPace) lower(since, cost time.Duration) (change int32) {
	level := p.level.Load()
	if level == 0 || since <= tooLate*cost {
		return 0
	}
	change = -min(level, int32(bits.Len64(uint64(since/(tooLate*cost)))))
	p.level.Store(level + change)
	return change
}
