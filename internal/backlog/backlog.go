package backlog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lock"
)

// A Backlog counts the bytes that wait for grace periods and holds them to two limits.
//
// A nil *Backlog counts nothing and has no limits. Any goroutine may call all methods.
type Backlog struct {
	cfg   Config
	limit *limit       // own, or that of cfg.Pool
	own   limit        // for a HardLimit that is not automatic
	bytes atomic.Int64 // what this Backlog has charged to the Pool's limit
	peak  atomic.Int64 // most that has been charged

	expediting atomic.Bool // a round has started and has not yet begun to reclaim
	again      atomic.Bool // a round was requested after the latest one began

	expedited, waits, overruns atomic.Uint64
	waited                     atomic.Int64 // ns, of waits that have ended

	mu     sync.Mutex // guards queues; held while they start and reclaim
	queues []Queue
}

// A Queue holds what waits for grace periods and is charged to a Backlog.
//
// It is an alias, so that packages with a public API can name the same interface.
type Queue = interface {
	// StartAll starts the grace period of everything in the queue that has none yet.
	StartAll()
	// ReclaimReady reclaims everything whose grace period is over.
	ReclaimReady()
}

// New makes a Backlog without queues. Config.Pool's limit may be asked for from here on.
func New(cfg Config) *Backlog {
	b := &Backlog{cfg: cfg}
	b.limit = &b.own
	switch {
	case cfg.HardLimit == 0 && cfg.Pool != nil:
		b.limit = &cfg.Pool.limit
	case cfg.HardLimit == 0:
		b.cfg.HardLimit = Unlimited
	}
	hard := b.cfg.HardLimit
	b.own.hard = func() int64 { return hard }
	return b
}

// pooled reports whether the Backlog charges the Pool.
func (b *Backlog) pooled() bool { return b.limit != &b.own }

// charged returns the bytes that this Backlog has charged.
func (b *Backlog) charged() int64 {
	if b.pooled() {
		return b.bytes.Load()
	}
	return b.own.bytes.Load()
}

// Add makes q take part in expedited rounds.
func (b *Backlog) Add(q Queue) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues = append(b.queues, q)
	if b.cfg.Pool != nil && len(b.queues) == 1 {
		b.cfg.Pool.add(b)
	}
}

// Remove takes q out. When it returns nil, q is not being called and will not be. It waits for a
// round that is reclaiming, so it must not be called from StartAll or ReclaimReady. If ctx ends
// first, it returns its error, and q stays.
func (b *Backlog) Remove(ctx context.Context, q Queue) error {
	if b == nil {
		return nil
	}
	if err := lock.Context(ctx, &b.mu); err != nil {
		return err
	}
	defer b.mu.Unlock()
	for i, other := range b.queues {
		if other == q {
			b.queues = append(b.queues[:i:i], b.queues[i+1:]...)
			if b.cfg.Pool != nil && len(b.queues) == 0 {
				b.cfg.Pool.remove(b)
			}
			break
		}
	}
	return nil
}

// TryCharge adds n bytes unless that would exceed the hard limit. It takes no lock and wakes no
// goroutine, so it may be called under a stack's lock. The first charge is never refused,
// however large: there is nothing it could wait for.
//
// After TryCharge and Charge the caller calls CheckSoftLimit, once what it charged for is in
// its queue: an expedited round then covers it.
func (b *Backlog) TryCharge(n int64) bool {
	if b == nil {
		return true
	}
	if !b.limit.try(n) {
		return false
	}
	b.noteCharge(n)
	return true
}

// A Wait says how long a charge may wait at the hard limit.
type Wait struct {
	may bool
	ctx context.Context // nil: Config.MaxWait is the bound
}

var (
	// NoWait is for callers that must not wait.
	NoWait = Wait{}
	// MayWait is for callers that wait as long as Config.MaxWait says.
	MayWait = Wait{may: true}
)

// WaitFor is for callers that wait as long as ctx lasts.
func WaitFor(ctx context.Context) Wait { return Wait{may: true, ctx: ctx} }

// May reports whether the caller may wait at all.
func (w Wait) May() bool { return w.may }

// Charge adds n bytes. At the hard limit it waits, if w allows, until there is room. What it adds
// when the wait is over, in spite of the limit, is an overrun. The caller holds no lock.
func (b *Backlog) Charge(n int64, w Wait) {
	if b == nil || b.TryCharge(n) || w.may && b.wait(n, w) {
		return
	}
	b.overruns.Add(1)
	b.limit.bytes.Add(n)
	b.noteCharge(n)
}

// Adjust makes a charge of from bytes one of to bytes, whatever the limits: what was charged
// for turned out to have another size. Like TryCharge it may be called under a stack's lock.
func (b *Backlog) Adjust(from, to int64) {
	switch {
	case b == nil || from == to:
	case to < from:
		b.Release(from - to)
	default:
		sum := b.limit.bytes.Add(to - from)
		b.noteCharge(to - from)
		if sum > b.limit.hard() {
			b.overruns.Add(1)
		}
	}
}

// noteCharge counts n bytes, which have been added to the limit's, as this Backlog's.
func (b *Backlog) noteCharge(n int64) {
	sum := int64(0)
	if b.pooled() {
		sum = b.bytes.Add(n)
	} else {
		sum = b.own.bytes.Load()
	}
	for old := b.peak.Load(); old < sum && !b.peak.CompareAndSwap(old, sum); {
		old = b.peak.Load()
	}
}

// Release takes off n bytes that were charged. It takes no lock and wakes no goroutine: a
// waiting Charge looks again by itself.
func (b *Backlog) Release(n int64) {
	if b == nil || n == 0 {
		return
	}
	if b.pooled() {
		b.bytes.Add(-n)
	}
	b.limit.release(n)
}

// CheckSoftLimit expedites the grace period if the soft limit is exceeded. It may start a
// goroutine: not under a stack's lock.
func (b *Backlog) CheckSoftLimit() {
	if b == nil {
		return
	}
	if soft, bytes := b.softLimit(); bytes > soft {
		b.expedite()
	}
}

// Expedite has everything that waits start its grace period, expedites that, and reclaims what is
// ready, on a goroutine of its own. If nothing waits, or a round is under way, it does nothing. It
// may start a goroutine: not under a stack's lock.
func (b *Backlog) Expedite() {
	if b != nil && b.charged() > 0 && !b.expediting.Load() {
		b.expedite()
	}
}

// Stats is a reading of a Backlog.
type Stats struct {
	Bytes, Peak int64         // charged now, and at most so far
	Soft, Hard  int64         // limits in force; Unlimited for none
	LimitBytes  int64         // charged to Hard: Bytes, or those of all that share a Pool's
	Expedited   uint64        // rounds that the soft limit started
	Waits       uint64        // charges that the hard limit made wait
	Waited      time.Duration // sum of the waits that have ended
	Overruns    uint64        // charges beyond the hard limit
}

// Stats reads the figures one after the other.
func (b *Backlog) Stats() (s Stats) {
	if b == nil {
		return s
	}
	s = Stats{Bytes: max(0, b.charged()), Peak: b.peak.Load(), Hard: b.limit.hard(), LimitBytes: max(0, b.limit.bytes.Load()), Expedited: b.expedited.Load(),
		Waits: b.waits.Load(), Waited: time.Duration(b.waited.Load()), Overruns: b.overruns.Load()}
	s.Soft, _ = b.softLimit()
	return s
}
