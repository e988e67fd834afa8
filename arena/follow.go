package arena

import (
	"errors"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// FollowMemory, as a limit, is what the process may have, less a tenth for what is counted nowhere,
// less the larger of Go's live heap and an eighth of the rest. What the process may have is
// AvailableMemory: the machine's memory or the smallest limit of its cgroups. It is read again each
// second while the arena has memory, so that the limit follows a container that is resized. Where
// nothing says how much memory there is, there is no limit.
const FollowMemory = -2

// followPeriod is the time between two readings.
const followPeriod = time.Second

// A watch reads what the process may have, and passes it on to everything that follows it: limits
// of arenas, a coupling, and what Available returns. All of these see the same readings. The timer
// runs only while one of the arenas follows and has pages charged: it is armed by the charge of a
// page, and runs once more when there is none left.
//
// The readings don't depend on each other: a followed limit is made of what the process may have
// and Go's live heap, a coupling of what the process may have and the pages that are charged. So a
// limit that changes doesn't change the other one by itself.
type watch struct {
	available func() (int64, error) // available; tests replace it
	live      func() int64          // liveHeap; tests replace it
	total     atomic.Int64          // as read last; Unlimited: unknown; 0: not read yet
	period    time.Duration         // between two readings; tests make it long
	timer     lazytimer.Timer
	pressure  pressure
}

// processWatch is the watch of all arenas, but those of some tests.
var processWatch = newWatch(available, liveHeap)

func newWatch(available func() (int64, error), live func() int64) *watch {
	w := &watch{available: available, live: live, period: followPeriod}
	w.timer.Init(w.tick)
	w.pressure.open, w.pressure.read, w.pressure.period = openNotices, sys.ReadPressure, pressurePeriod
	return w
}

// read reads what the process may have. It holds no lock. What the reading before it has found
// stays in force where the process has no file descriptor or memory left to read it again.
func (w *watch) read() (total int64) {
	total, err := w.available()
	if total == 0 {
		total = Unlimited
	}
	if before := w.total.Load(); before != 0 && transient(err) {
		total = min(total, before)
	}
	w.total.Store(total)
	return total
}

// transient reports whether a reading failed for a reason that has nothing to do with the files.
func transient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// tick is what the timer calls.
func (w *watch) tick() {
	total := w.read()
	again := false
	for _, a := range openArenas() {
		if a.cfg.watch != w || !a.ready.Load() || !a.follows() {
			continue
		}
		a.followMemory(total)
		charged, _ := a.ledger.load()
		again = again || charged > 0
	}
	if c := coupled.Load(); c != nil && c.watch == w && c.cfg.Total == 0 {
		c.setTotal(total)
	}
	if again {
		w.timer.Arm(w.period)
	}
}

// follow says for what an arena needs the watch.
type follow struct {
	on      atomic.Bool // the limit is FollowMemory; written under mu
	asked   atomic.Bool // Available was called
	coupled atomic.Bool // the arena is part of a coupling with an automatic Total
	mu      sync.Mutex  // a leaf: held while the limit is written
}

// follows reports whether something of the arena changes with what the process may have.
func (a *Arena) follows() bool {
	f := &a.follow
	return f.on.Load() || f.coupled.Load() || f.asked.Load() && a.limit.Load() == Unlimited
}

// armFollow is called after pages were charged, and after the arena began to follow. Each caller
// first puts its part in place, then looks for the other's: so one of the two finds both, however
// they race.
func (a *Arena) armFollow() {
	if !a.follows() {
		return
	}
	if charged, _ := a.ledger.load(); charged > 0 {
		a.cfg.watch.timer.Arm(a.cfg.watch.period)
	}
}

// followMemory sets the limit to what is left of a reading of total bytes, unless it has been set
// by hand, which may have happened while the files were read. If the arena is then near its limit,
// shrinkers are called: the next Alloc, which would call them, may come too late.
func (a *Arena) followMemory(total int64) {
	if !a.follow.on.Load() {
		return
	}
	limit := followedLimit(total, a.cfg.watch.live())
	a.follow.mu.Lock()
	on := a.follow.on.Load()
	if on {
		a.limit.Store(limit)
	}
	a.follow.mu.Unlock()
	if on {
		a.purgeAbove(limit)
		a.shrinkNear()
	}
}

// followedLimit is the limit in bytes where the process may have total bytes, of which Go's heap
// needs live. Without a total there is no limit.
func followedLimit(total, live int64) int64 {
	if total == Unlimited {
		return Unlimited
	}
	rest := total - total/10
	return max(0, rest-max(live, rest/8))
}

// Available returns AvailableMemory as it was read last, or Unlimited where nothing says how much
// memory there is. The first call reads it. From then on it is read each second while the arena has
// pages and no limit, and a call is one load. For allocators, which may make later calls with a
// lock held.
func (a *Arena) Available() (bytes int64) {
	if a.follow.asked.Load() {
		return a.cfg.watch.total.Load()
	}
	bytes = a.cfg.watch.read()
	a.follow.asked.Store(true)
	a.armFollow()
	return bytes
}

// liveHeap returns the bytes that the last garbage collection found in use on Go's heap. It stops
// nothing.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(s); s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s[0].Value.Uint64())
}

// purgeAbove discards freed runs that exceed a new limit of n bytes.
func (a *Arena) purgeAbove(n int64) {
	charged, _ := a.ledger.load()
	if bytes := charged * mem.PageSize; bytes > n {
		a.Purge(bytes - n)
	}
}
