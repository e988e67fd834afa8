package sheaves

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/rcu"
)

// A Backlog counts the bytes that are given over to grace periods, those of one Set or of
// all that share it, and bounds them: beyond the soft limit it has the grace period
// hurried, at the hard limit it lets those who give more wait.
//
//	bytes = capacity of the rcu_free sheaves on CPUs + content of waiting and ready ones
//	        + what others have charged, each in bytes
//	bytes <= hard limit, but for what is counted in Overruns, and for a first charge
//	        that alone exceeds it
//
// A sheaf is charged as a whole when it becomes a CPU's rcu_free, before it holds anything:
// what the fast path pushes there is paid for. So the limit holds at every instant, and no
// FreeRCU but one in a sheaf's capacity hears of it.
//
// A nil *Backlog counts nothing and has no limits. All methods may be called by any
// goroutine.
type Backlog struct {
	cfg   BacklogConfig
	bytes atomic.Int64
	peak  atomic.Int64 // most that bytes was

	hurrying atomic.Bool  // a rush has yet to reap
	asked    atomic.Bool  // somebody has wanted one since the last has begun
	since    atomic.Int64 // when the hard limit began to hold somebody up, ns after epoch; 0: it doesn't

	hurries, waits, overruns atomic.Uint64
	waited                   atomic.Int64 // ns, of waits that have ended

	mu      sync.Mutex // guards members; held while they submit and reap
	members []Member
}

// BacklogConfig says what NewBacklog makes.
type BacklogConfig struct {
	// Domain provides the grace periods that are waited for.
	Domain *rcu.Domain
	// Limits returns the soft and the hard limit in bytes, 0 for none. It is asked whenever
	// more than Quiet bytes wait, since what the limits derive from may change.
	Limits func() (soft, hard uint64)
	// Quiet is a number of bytes that no limit is ever below.
	Quiet uint64
	// MaxWait bounds one wait at the hard limit. 0: as long as the limit has been holding
	// others up, at least MinWait. Negative: no bound.
	MaxWait time.Duration
}

// A Member is something whose content a Backlog counts.
type Member interface {
	// Submit has the grace period of everything in the member begin, where it hasn't.
	Submit()
	// Reap ends the life of what has seen its grace period out.
	Reap()
}

// MinWait is the least time that a wait at the hard limit may take: many healthy grace
// periods, but no more than a client's patience.
const MinWait = 100 * time.Millisecond

// NewBacklog makes a Backlog without members.
func NewBacklog(cfg BacklogConfig) *Backlog { return &Backlog{cfg: cfg} }

// Join makes m take part when the backlog is hurried.
func (b *Backlog) Join(m Member) {
	if b != nil {
		b.mu.Lock()
		b.members = append(b.members, m)
		b.mu.Unlock()
	}
}

// Leave ends that. When it returns m is not being called, nor will be. Not from Submit or
// Reap.
func (b *Backlog) Leave(m Member) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.members {
		if other == m {
			b.members = append(b.members[:i:i], b.members[i+1:]...)
			return
		}
	}
}

// TryCharge adds n bytes unless that would exceed the hard limit. It takes no lock and
// wakes nobody, and so may be called under a stack's lock. The first charge is never refused, however large: it waits for nothing
// that could go.
func (b *Backlog) TryCharge(n uintptr) bool {
	if b == nil {
		return true
	}
	for {
		old := b.bytes.Load()
		sum := old + int64(n)
		if uint64(sum) > b.cfg.Quiet && old > 0 {
			if _, hard := b.cfg.Limits(); hard > 0 && uint64(sum) > hard {
				return false
			}
		}
		if b.bytes.CompareAndSwap(old, sum) {
			b.rose(sum)
			return true
		}
	}
}

// Charge adds n bytes. At the hard limit it waits, if it may, until there is room for
// them or MaxWait has passed. What is then added in spite of the limit is an overrun.
// The caller holds no lock of this package.
//
// After Charge and TryCharge the caller calls Relieve, once what they were for is in its
// place: what is hurried then includes it.
func (b *Backlog) Charge(n uintptr, mayWait bool) {
	if b == nil {
		return
	}
	if !b.TryCharge(n) && !(mayWait && b.wait(n)) {
		b.overruns.Add(1)
		b.rose(b.bytes.Add(int64(n)))
	}
}

// correct makes a charge of n bytes one of m, whatever the limits: what it was made for
// turned out to have another size. As TryCharge it may be called under a stack's lock.
func (b *Backlog) correct(n, m uintptr) {
	switch {
	case b == nil || n == m:
	case m < n:
		b.Release(n - m)
	default:
		sum := b.bytes.Add(int64(m - n))
		b.rose(sum)
		if _, hard := b.cfg.Limits(); hard > 0 && uint64(sum) > hard {
			b.overruns.Add(1)
		}
	}
}

func (b *Backlog) rose(sum int64) {
	for old := b.peak.Load(); old < sum && !b.peak.CompareAndSwap(old, sum); {
		old = b.peak.Load()
	}
}

// Release takes n bytes off that were charged. It takes no lock and wakes nobody: who
// waits looks again.
func (b *Backlog) Release(n uintptr) {
	if b == nil || n == 0 {
		return
	}
	left := b.bytes.Add(-int64(n))
	if b.since.Load() == 0 {
		return
	}
	if _, hard := b.cfg.Limits(); uint64(max(left, 0)) <= hard || hard == 0 {
		b.since.Store(0)
	}
}

// Relieve hurries the grace period if the soft limit is exceeded.
func (b *Backlog) Relieve() {
	if b == nil || uint64(b.bytes.Load()) <= b.cfg.Quiet {
		return
	}
	if soft, _ := b.cfg.Limits(); soft > 0 && uint64(b.bytes.Load()) > soft {
		b.hurry()
	}
}

// BacklogStats is a reading of a Backlog.
type BacklogStats struct {
	Bytes, Peak uint64        // charged, now and at most
	Soft, Hard  uint64        // limits in force; 0 for none
	Hurries     uint64        // rounds in which the soft limit had the grace period hurried
	Waits       uint64        // charges that the hard limit let wait
	Waited      time.Duration // all of them together, those that have ended
	Overruns    uint64        // charges beyond the hard limit
}

// Stats reads the figures, one after the other.
func (b *Backlog) Stats() (s BacklogStats) {
	if b == nil {
		return s
	}
	s = BacklogStats{Bytes: uint64(max(0, b.bytes.Load())), Peak: uint64(b.peak.Load()), Hurries: b.hurries.Load(),
		Waits: b.waits.Load(), Waited: time.Duration(b.waited.Load()), Overruns: b.overruns.Load()}
	s.Soft, s.Hard = b.cfg.Limits()
	return s
}
