package slub

import (
	"math"
	"sync"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
)

// What waits for grace periods is bounded, since a single reader that doesn't report could
// else take all memory. The limits of a program's own choice apply to a cache with its
// aliases, or to all sizes of Buckets together.
//
// Without one the hard limit is a quarter of the arena's limit, or an eighth of the memory
// that the process may have where the arena has none. Healthy grace periods take
// milliseconds, in which not even 60 million frees a second come to that; what does is a
// reader that is stuck, and then a daemon whose writers stand still can be found and
// mended, one that was killed for its memory only be started again. The soft limit is a
// quarter of the hard one.

// A backlog is a sheaves.Backlog that metrics can name.
type backlog struct {
	*sheaves.Backlog
	name func() string
	id   uint32
}

// rcuLimits are the words of Config and BucketsConfig.
type rcuLimits struct {
	soft, hard int64
	maxWait    time.Duration
}

func (c Config) rcuLimits() rcuLimits { return rcuLimits{c.RCUSoftLimit, c.RCUHardLimit, c.RCUMaxWait} }

func (c BucketsConfig) rcuLimits() rcuLimits {
	return rcuLimits{c.RCUSoftLimit, c.RCUHardLimit, c.RCUMaxWait}
}

func (l rcuLimits) validate(bad badField) {
	if l.hard > 0 && l.soft > l.hard {
		bad("RCUSoftLimit", "%d bytes are above RCUHardLimit, which is %d", l.soft, l.hard)
	}
}

// newBacklog makes what holds to the limits. Automatic ones leave room for two times so
// many bytes of sheaves per CPU, and for leastPerCPU.
func (l rcuLimits) newBacklog(a *arena.Arena, d *rcu.Domain, sheaf uintptr) *backlog {
	memory() // reads files the first time; later it may be asked under a stack's lock
	least := int64(max(2*sheaf, leastPerCPU)) * int64(percpu.NumCPU())
	return &backlog{Backlog: sheaves.NewBacklog(sheaves.BacklogConfig{Domain: d, MaxWait: l.maxWait,
		Limits: func() (soft, hard uint64) { return l.inForce(max(least, share(a))) }, Quiet: l.quiet(least)})}
}

// leastPerCPU is what automatic limits leave for each CPU in any case: what a CPU frees in
// a healthy grace period of a millisecond.
const leastPerCPU = 1 << 20

// quiet returns the least that any limit can be, where automatic ones are no less than
// least.
func (l rcuLimits) quiet(least int64) uint64 {
	soft, hard := l.inForce(least)
	switch {
	case soft == 0 && hard == 0:
		return math.MaxUint64
	case soft == 0:
		return hard
	case hard == 0:
		return soft
	}
	return min(soft, hard)
}

func (b *backlog) stats() BacklogStats { return BacklogStats{b.name(), b.id, b.Stats()} }

// inForce returns the limits, 0 for none, where automatic is the hard one.
func (l rcuLimits) inForce(automatic int64) (soft, hard uint64) {
	if l.hard > 0 {
		automatic = l.hard
	}
	if l.hard >= 0 {
		hard = uint64(automatic)
	}
	switch {
	case l.soft > 0:
		soft = uint64(l.soft)
	case l.soft == 0:
		soft = uint64(automatic) / 4
	}
	return soft, hard
}

// share is how many bytes may wait at most by default.
func share(a *arena.Arena) int64 {
	if limit := a.Limit(); limit > 0 {
		return int64(limit / 4)
	}
	return int64(memory() / 8)
}

// memory returns how many bytes of memory the process may have, as far as that is known
// at the first call.
var memory = sync.OnceValue(func() uint64 {
	ram, _, err := sys.RAM()
	if err != nil {
		ram = 8 << 30 // no system that slubd runs on is without sysinfo(2)
	}
	// Of those that can be read the least; others are no reason to have no limit.
	if cgroup, _ := arena.CgroupLimit(); cgroup > 0 {
		ram = min(ram, cgroup)
	}
	return ram
})

// BacklogStats says how much waits for grace periods, and what the limits did about it.
// Aliases, and the caches of the same Buckets, have one in common.
type BacklogStats struct {
	Name string // of the cache or the Buckets
	ID   uint32 // what tells two of one name apart
	sheaves.BacklogStats
}

// QueueStats counts the objects that were given to FreeRCU when there was no memory to
// queue them in, by what became of them.
type QueueStats struct {
	Linked   uint64 // linked through their free pointers
	Waited   uint64 // FreeRCU waited for their grace period
	Callback uint64 // a callback of the domain, on the Go heap
}
