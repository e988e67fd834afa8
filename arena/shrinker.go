package arena

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
)

// A Shrinker is a part of the program that keeps objects which it could do without, such as a cache
// of answers, and frees some when memory is short (kernel: struct shrinker). See AddShrinker.
type Shrinker struct {
	// Name appears in statistics and metrics.
	Name string
	// Count returns how many objects Scan could free now; 0 for none. It is called often when
	// memory is short, and costs a few loads.
	Count func() int64
	// Scan frees up to n objects, the coldest first, and returns how many it has freed. More are
	// asked for in another call. A negative result says that it could not look, for example because
	// another goroutine holds its lock (kernel: SHRINK_STOP). After a 0 Scan is not called again
	// until Count returns something else, or for a second.
	Scan func(n int64) (freed int64)
}

// ShrinkerStats says what a shrinker has done.
type ShrinkerStats struct {
	Name         string
	Calls, Freed uint64 // calls of Scan, and the sum of their results
}

// AddShrinker registers a shrinker. It is called when an allocation from the arena finds no memory,
// on the goroutine of that allocation, and on a goroutine of its own when less than a sixteenth of
// the arena's limit is left, or when the kernel says that memory is short. stop takes it out again;
// when stop returns the shrinker is not running and will not be called any more. (Kernel:
// shrinker_register.)
//
// The kernel says so where threads wait for memory for 7.5 % of a second or two (PSI,
// memory.pressure), and where a cgroup of the process is at its limit (memory.events, or
// memory.failcnt with version 1) and has few files' pages to reclaim. An eighth of what the
// shrinkers of all arenas count is then asked for, or half of it if the kernel could not reclaim
// enough, at most once per second, and the arena's free pages go back. One goroutine of the process
// waits for that while any open arena has a shrinker. It reads the files each second where the
// kernel gives no notice: with version 1, and to a process that may not write to memory.pressure or
// whose kernel has triggers only for CAP_SYS_RESOURCE.
//
// A shrinker is never called by two goroutines at a time. It may free objects, by Free, FreeBulk,
// FreeRCU and FreeRCUNoWait. It must not allocate from the arena, except by AllocNoWait, nor wait
// for a grace period, nor call stop or Close. It runs inside of any allocation, with all locks that
// the allocating goroutine holds. So it must not wait for a lock that is ever held around an
// allocation: it tries the lock, and returns -1 if another goroutine holds it.
//
// A shrinker that panics or ends its goroutine panics out of that allocation, or ends its
// goroutine; on a goroutine of its own it ends the program. Nothing is lost by it.
//
// Any goroutine. The functions must not be nil.
func (a *Arena) AddShrinker(s Shrinker) (stop func()) {
	if s.Count == nil || s.Scan == nil {
		panic("arena: AddShrinker: Count or Scan is nil")
	}
	sh := &shrinker{Shrinker: s}
	a.changeShrinkers(func(list []*shrinker) []*shrinker { return append(slices.Clone(list), sh) })
	return func() {
		a.changeShrinkers(func(list []*shrinker) []*shrinker {
			return slices.DeleteFunc(slices.Clone(list), func(other *shrinker) bool { return other == sh })
		})
		sh.running.Lock() // waits for a call that is under way
		sh.stopped = true // a round may have the old list
		sh.running.Unlock()
	}
}

// A shrinker is a registered Shrinker.
type shrinker struct {
	Shrinker
	running sync.Mutex // held while Count and Scan run; stop waits for it, others as lock says
	stopped bool       // under running
	// useless is what Count returned before a Scan that freed nothing, 0 for none, and since is the
	// time of that Scan. It is not called again until Count returns something else or maxUseless
	// has passed: a full cache counts the same all the time, whatever becomes of what it holds.
	// Under running.
	useless int64
	since   time.Time

	calls, freed atomic.Uint64
}

// maxUseless is how long a shrinker that freed nothing is left alone if it counts the same.
const maxUseless = time.Second

// scanBatch is the least number of objects that Scan is asked for (kernel: SHRINK_BATCH).
const scanBatch = 128

// lock takes running, and reports whether it has. A round of Reclaim waits for a call on another
// goroutine: what that call frees is what the round needs. The wait is bounded for the case that
// the call itself allocates, which it may not. Others leave a shrinker alone that is running.
func (s *shrinker) lock(round bool) bool {
	began := time.Now()
	for pause := firstPause; !s.running.TryLock(); pause = min(2*pause, longestPause) {
		if !round || time.Since(began) >= lock.MaxWait {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

// The pauses between two looks at a shrinker that is running; they double.
const (
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// scan asks the shrinker for one part of what it counts, and returns how many objects it has freed.
func (s *shrinker) scan(part int64, round bool) (freed int64) {
	if !s.lock(round) {
		return 0
	}
	defer s.running.Unlock() // Scan may panic or end the goroutine
	if s.stopped {
		return 0
	}
	n := callback.Get(s.Count)
	if n <= 0 || n == s.useless && time.Since(s.since) < maxUseless {
		return 0
	}
	s.calls.Add(1)
	s.useless = 0
	freed = callback.Ask(s.Scan, min(n, max(n/part, scanBatch)))
	if freed == 0 {
		s.useless, s.since = n, time.Now()
	}
	freed = max(0, freed)
	s.freed.Add(uint64(freed))
	return freed
}

// list returns the shrinkers. The caller must not change the slice.
func (r *reclaim) list() []*shrinker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shrinkers
}

func (r *reclaim) change(edit func([]*shrinker) []*shrinker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shrinkers = edit(r.shrinkers)
	r.any.Store(len(r.shrinkers) > 0)
}

// changeShrinkers replaces the list of shrinkers.
func (a *Arena) changeShrinkers(edit func([]*shrinker) []*shrinker) {
	a.reclaim.change(edit)
	a.watchPressure()
}

// Shrink asks every shrinker to free one part of what it counts, for example a fourth for part 4;
// with part 1 or less all of it. It is what a program, or a watcher of the container's memory,
// calls when memory gets short elsewhere. It returns the number of objects that were freed. They
// may stay in sheaves and slabs; slub's Cache.Shrink gives their pages back. Any goroutine that may
// call a shrinker, see AddShrinker.
func (a *Arena) Shrink(part int) (freed int64) { return a.shrink(int64(max(1, part)), false) }

func (a *Arena) shrink(part int64, round bool) (freed int64) {
	if !a.reclaim.any.Load() {
		return 0
	}
	for _, s := range a.reclaim.list() {
		freed += s.scan(part, round)
	}
	return freed
}

// shrunk returns how many objects the shrinkers have freed since they were registered.
func (r *reclaim) shrunk() (freed uint64) {
	for _, s := range r.list() {
		freed += s.freed.Load()
	}
	return freed
}

// nearLimit is the part of the limit that is left when NearLimit begins to report true.
const nearLimit = 16

// NearLimit reports whether less than a sixteenth of the limit is left beside what InUse counts.
// Shrinkers are called then. It is two loads. For allocators.
func (a *Arena) NearLimit() bool {
	limit := a.limit.Load()
	return limit-a.InUse() < limit/nearLimit
}

// shrinkNear is called when pages have been handed out. Near the limit it starts a goroutine that
// calls the shrinkers, unless one is running. So caches give way before an allocation has to wait
// for them (kernel: wakeup_kswapd). It costs a load where there are no shrinkers.
func (a *Arena) shrinkNear() {
	r := &a.reclaim
	if !r.any.Load() {
		return
	}
	if a.NearLimit() {
		a.shrinkInBackground(nearLimit, func(freed int64) {
			if freed > 0 {
				a.giveBack(func() bool { return !a.NearLimit() })
			}
		})
	}
}

// shrinkInBackground calls the shrinkers on a goroutine of its own, and then a function with what
// they have freed, unless such a goroutine is running.
func (a *Arena) shrinkInBackground(part int64, then func(freed int64)) {
	r := &a.reclaim
	if !r.any.Load() || !r.background.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer r.background.Store(false)
		then(a.shrink(part, false))
	}()
}

// giveBack asks the Reclaimers until that is enough. A round that is under way does the same: it is
// not waited for.
func (a *Arena) giveBack(enough func() bool) {
	r := &a.reclaim
	if !r.round.TryTake() {
		return
	}
	defer r.round.Give()
	a.askReclaimers(mem.PageSize, enough)
}
