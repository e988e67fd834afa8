package backlog

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/rcu"
)

// Unlimited is a limit that never applies, and a MaxWait without end.
const Unlimited = math.MaxInt64

// Values of Config.MaxWait beside a duration.
const (
	None    = time.Duration(-1) // no charge waits
	Growing = time.Duration(-2) // as long as the limit has been blocking, at least MinWait
)

// DefaultMaxWait is the automatic MaxWait: about a grace period of healthy readers, and no more
// than the latency that a request handler can add without being noticed.
const DefaultMaxWait = time.Millisecond

// Config says what New makes.
type Config struct {
	// Domain provides the grace periods that are waited for.
	Domain *rcu.Domain
	// SoftLimit and HardLimit in bytes. A HardLimit of 0 is automatic: the Backlog charges Pool and
	// shares its limit. A SoftLimit of 0 is automatic: a quarter of the hard limit in force, and of
	// Pool's if HardLimit is Unlimited.
	SoftLimit, HardLimit int64
	// Pool has the automatic limit. nil: Unlimited.
	Pool *Pool
	// MaxWait bounds one wait at the hard limit. Once such a wait has run out, no charge waits
	// until the limit has ceased to block. 0 is automatic: DefaultMaxWait. Unlimited is no bound.
	// See also None and Growing.
	MaxWait time.Duration
}

// limit is a hard limit and what is charged to it: that of one Backlog, or that of a Pool.
type limit struct {
	hard  func() int64 // the limit in bytes; called under a stack's lock
	bytes atomic.Int64 // charged now

	// blocked is when the limit began to block, in ns after epoch; 0: it doesn't.
	blocked atomic.Int64
	// spent is the value of blocked for which a bounded wait has run out. It needs no clearing:
	// when the limit blocks again, blocked has another value.
	spent atomic.Int64
}

// try adds n bytes unless that would exceed the limit. The sum is replaced by compare-and-swap, so
// that it never exceeds the limit, not even for an instant, and a charge that is refused makes no
// other one fail.
func (l *limit) try(n int64) bool {
	for {
		old := l.bytes.Load()
		if old > 0 && old+n > l.hard() {
			return false
		}
		if l.bytes.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

// release takes off n bytes. If what is left is within the limit, the limit has ceased to block.
func (l *limit) release(n int64) {
	left := l.bytes.Add(-n)
	if l.blocked.Load() != 0 && max(left, 0) <= l.hard() {
		l.blocked.Store(0)
	}
}

// block notes that the limit blocks, and returns since when, in ns after epoch.
func (l *limit) block(now time.Time) (since int64) {
	since = max(1, int64(now.Sub(epoch)))
	if l.blocked.CompareAndSwap(0, since) {
		return since
	}
	if earlier := l.blocked.Load(); earlier != 0 {
		return earlier
	}
	return since // it has just ceased to
}

// softLimit returns the soft limit in force, and the bytes that count for it: those of the Pool
// where both limits are automatic.
func (b *Backlog) softLimit() (soft, bytes int64) {
	switch {
	case b.cfg.SoftLimit != 0:
		return b.cfg.SoftLimit, b.charged()
	case b.cfg.HardLimit != Unlimited:
		return quarter(b.limit.hard()), b.limit.bytes.Load()
	case b.cfg.Pool != nil:
		return quarter(b.cfg.Pool.hard()), b.charged()
	}
	return Unlimited, b.charged()
}

// quarter is the automatic soft limit for a hard one.
func quarter(hard int64) int64 {
	if hard == Unlimited {
		return Unlimited
	}
	return hard / 4
}
