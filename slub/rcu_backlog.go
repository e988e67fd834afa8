package slub

import (
	"fmt"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/slab"
)

// What waits for grace periods is bounded, since a single reader that doesn't report could
// otherwise take all memory. The limits of a Config apply to a cache with its aliases, those of
// a BucketsConfig to all sizes together. Package internal/backlog enforces them.
//
// The automatic hard limit is that of the arena: a quarter of what the arena may have resident, for
// all caches and Buckets with automatic limits together. So it doesn't depend on how many caches or
// CPUs there are. Where the arena has no limit it is an eighth of the memory that the process may
// have, which is read again each second while the arena has memory. A healthy grace period takes
// milliseconds; even 60 million frees a second don't add up to that much. A stuck reader does. The
// automatic soft limit is a quarter of the hard one.

// WaitGrowing, as RCUMaxWait, makes FreeRCU wait at the hard limit as long as the limit has been
// blocking others already, at least a tenth of a second. Each goroutine then exceeds the limit
// after 0.1 s, 0.2 s, 0.4 s and so on, by a sheaf each time: about twenty sheaves in a day behind
// a reader that never reports. Callers of FreeRCU stand still before Alloc fails: the right choice
// for a daemon whose writers may stop while it is examined and repaired.
const WaitGrowing = backlog.Growing

// A sharedBacklog is a backlog.Backlog that metrics can name.
type sharedBacklog struct {
	*backlog.Backlog
	name func() string
	id   uint32
}

// rcuLimits are the fields of Config and BucketsConfig.
type rcuLimits struct {
	soft, hard int64
	maxWait    time.Duration
}

func (c Config) rcuLimits() rcuLimits { return rcuLimits{c.RCUSoftLimit, c.RCUHardLimit, c.RCUMaxWait} }

func (c BucketsConfig) rcuLimits() rcuLimits {
	return rcuLimits{c.RCUSoftLimit, c.RCUHardLimit, c.RCUMaxWait}
}

func (l rcuLimits) validate(p *configerr.Problems) {
	if l.soft < 0 {
		p.Add("RCUSoftLimit", "%d is negative; Unlimited has no bound", l.soft)
	}
	if l.hard < 0 {
		p.Add("RCUHardLimit", "%d is negative; Unlimited has no bound", l.hard)
	}
	if l.maxWait < WaitGrowing {
		p.Add("RCUMaxWait", "%v is negative; Unlimited has no bound", l.maxWait)
	}
	if l.hard > 0 && l.soft > l.hard && l.soft != Unlimited {
		p.Add("RCUSoftLimit", "%d bytes are above RCUHardLimit, which is %d", l.soft, l.hard)
	}
}

// newBacklog makes what enforces the limits.
func (l rcuLimits) newBacklog(a *arena.Arena, d *rcu.Domain) *sharedBacklog {
	return &sharedBacklog{Backlog: backlog.New(backlog.Config{Domain: d,
		SoftLimit: l.soft, HardLimit: l.hard, MaxWait: l.maxWait, Pool: poolOf(a)})}
}

// poolOf returns the automatic hard limit of an arena.
func poolOf(a *arena.Arena) *backlog.Pool {
	a.Available() // reads files the first time; later calls may come under a stack's lock
	return companionOf(a).pool
}

// A companion is what the caches of an arena share. It is made with the first of them.
type companion struct {
	pool  *backlog.Pool // see poolOf
	marks slab.MarkTables
	exts  slab.ExtTables
}

func companionOf(a *arena.Arena) *companion {
	return a.Companion(func() any {
		return &companion{pool: backlog.NewPool(func() int64 { return share(a) })}
	}).(*companion)
}

// share is the automatic hard limit in bytes.
func share(a *arena.Arena) int64 {
	if limit := a.Limit(); limit != arena.Unlimited {
		return limit / 4
	}
	if bytes := a.Available(); bytes != arena.Unlimited {
		return bytes / 8
	}
	return 1 << 30 // on no system that slubd runs on
}

// BacklogStats says how much waits for grace periods, and what the limits did about it.
// Aliases share one, and so do the caches of the same Buckets.
type BacklogStats struct {
	Name        string // of the cache or the Buckets
	ID          uint32 // tells two of the same name apart
	Bytes, Peak int64  // bytes that wait now, and at most so far
	// Soft and Hard are the limits in force, in bytes; Unlimited if there is none. An automatic
	// Hard is the arena's: all its automatic backlogs share it, see PoolBytes.
	Soft, Hard int64
	// PoolBytes are the bytes that are charged to Hard: Bytes, or those of all backlogs that share
	// an automatic limit.
	PoolBytes int64
	Expedited uint64        // rounds in which the soft limit expedited the grace period
	Waits     uint64        // calls that the hard limit made wait
	Waited    time.Duration // sum of the waits that have ended
	Overruns  uint64        // times that more was added beyond the hard limit
}

func (b *sharedBacklog) stats() BacklogStats {
	s := b.Stats()
	return BacklogStats{Name: b.name(), ID: b.id, Bytes: s.Bytes, Peak: s.Peak, Soft: s.Soft, Hard: s.Hard, PoolBytes: s.LimitBytes,
		Expedited: s.Expedited, Waits: s.Waits, Waited: s.Waited, Overruns: s.Overruns}
}

// A retiredBacklog charges a cache's retired slabs to its backlog. A free doesn't wait for their
// sake, whatever the limits.
type retiredBacklog struct{ c *Cache }

func (b retiredBacklog) Charge(bytes int64)  { b.c.backlog.Charge(bytes, backlog.NoWait) }
func (b retiredBacklog) Release(bytes int64) { b.c.backlog.Release(bytes) }
func (b retiredBacklog) CheckSoftLimit()     { b.c.backlog.CheckSoftLimit() }

// blame returns what an ErrNoMemory adds about what waits for grace periods:
// how much, of which of it is this backlog's, and which reader it waits for. It looks at every
// backlog of the arena, and if much waits, at every reader of the domain.
func (b *sharedBacklog) blame(a *arena.Arena, d *rcu.Domain) string {
	waiting := poolOf(a).Waiting()
	if waiting < max(1, share(a)/8) {
		return ""
	}
	text := fmt.Sprintf("; %d bytes of the arena wait for grace periods, %d of them in backlog %q", waiting, b.Stats().Bytes, b.name())
	switch s := d.Stats(); {
	case s.OldestName != "":
		text += fmt.Sprintf(", whose oldest reader is %q, in the way for %v", s.OldestName, s.OldestReader)
	case s.Open > 0:
		text += fmt.Sprintf(", whose readers are %d open sections, in the way for %v", s.Open, s.OldestReader)
	}
	return text
}

// QueueStats counts the objects that were given to FreeRCU when there was no memory to
// queue them in, by what became of them.
type QueueStats struct {
	Linked   uint64 // linked through their free pointers
	Waited   uint64 // FreeRCU waited for their grace period
	Callback uint64 // a callback of the domain, on the Go heap
}
