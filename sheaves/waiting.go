package sheaves

import (
	"math/bits"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// waitLists are the sheaves of a barn that wait for a grace period, or after it for a CPU to want
// them. There is a list for each of some CPUs, as in a shardedList. A CPU parks what it has filled
// in its own list, and takes from that first: so a sheaf's way through its grace period touches no
// cache line that another CPU has written, neither of the list nor of the sheaf and its objects.
type waitLists struct {
	// used has a bit for each list that a sheaf was ever parked in. It is read by CPUs that look
	// for ready sheaves, and hardly ever written.
	used  atomic.Uint32
	_     [mem.CacheLine]byte
	lists [shards]waitList
}

// A waitList is one list of waitLists. Waiting is FIFO, since grace periods end in the order in
// which they were started.
type waitList struct {
	mu      lock.Mutex // guards waiting, last and ready; a leaf
	waiting *sheaf     // oldest first, linked by next
	last    *sheaf     // youngest waiting
	ready   list       // grace period over, youngest first

	// nrWaiting counts waiting and ready. Written under mu, read without it.
	nrWaiting uint32

	// Sheaves that are started but not yet in waiting, youngest first. The list is lock-free,
	// because FreeRCU parks a sheaf under its stack's lock, where the mutex may only be tried, and
	// a park must not fail.
	nrParked atomic.Int32 // never fewer than are parked
	parked   atomic.Pointer[sheaf]

	newestAtLastTick rcu.Token // of the youngest sheaf at the last takeStale, 0 none; Set.ticking

	_ [mem.CacheLine]byte // keeps the next list on other lines
}

// park adds a sheaf that has its token and was filled by a CPU. It is called under the lock of the
// stack that the objects came from: once that is released, a goroutine that looks for them finds
// them here.
func (w *waitLists) park(s *sheaf, cpu int) {
	i := cpu % shards
	// Before the sheaf is there: a goroutine that knows of the sheaf looks at the list.
	if w.used.Load()&(1<<i) == 0 {
		w.used.Or(1 << i)
	}
	l := &w.lists[i]
	l.nrParked.Add(1)
	for {
		head := l.parked.Load()
		s.next = head
		if l.parked.CompareAndSwap(head, s) {
			return
		}
	}
}

// each calls f for the lists that have been used, those of the calling CPU's first, until f returns
// false.
func (w *waitLists) each(f func(*waitList) bool) {
	used, own := w.used.Load(), shard()
	// After the rotation bit 0 is that of the CPU's own list. A byte has a bit for each list.
	for left := bits.RotateLeft8(uint8(used), -own); left != 0; left &= left - 1 {
		if !f(&w.lists[(own+bits.TrailingZeros8(left))%shards]) {
			return
		}
	}
}

const _ = -(shards ^ 8) // see each

// waits is how many sheaves wait for a grace period, or after it for a CPU to want them.
func (w *waitLists) waits() (n int) {
	w.each(func(l *waitList) bool { n += l.waits(); return true })
	return n
}

func (l *waitList) waits() int {
	return int(l.nrParked.Load()) + int(atomic.LoadUint32(&l.nrWaiting))
}

func (w *waitLists) anyWaiting() (any bool) {
	w.each(func(l *waitList) bool { any = l.waits() > 0; return !any })
	return any
}

// waitsLook is after how many sheaves of one list a CPU looks at all.
const waitsLook = 8

// moreThan reports whether more sheaves than most wait, for a CPU that has parked one. It may
// overlook waitsLook sheaves in each list: the lists of other CPUs are looked at only if this one's
// has more than its share, or now and then.
func (w *waitLists) moreThan(most, cpu int) bool {
	own, lists := w.lists[cpu%shards].waits(), bits.OnesCount32(w.used.Load())
	if lists > 1 && own*lists <= most && own%waitsLook != 0 {
		return false
	}
	return w.waits() > most
}

// takeReady takes a sheaf whose grace period is over, or returns nil: that of the calling CPU's
// whose grace period was the last to end, if there is one, as its objects may still be in the
// processor's caches. The oldest are what a burst has left over; takeStale takes them.
func (w *waitLists) takeReady(d *rcu.Domain) (s *sheaf) {
	w.each(func(l *waitList) bool { s = l.takeReady(d); return s == nil })
	return s
}

func (l *waitList) takeReady(d *rcu.Domain) *sheaf {
	if l.waits() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sortReady(d)
	s := l.ready.pop()
	l.uncount(s)
	return s
}

// takeYoungest is takeReady for a goroutine that wants no objects: whichever CPU's the youngest is.
func (w *waitLists) takeYoungest(d *rcu.Domain) (s *sheaf) {
	for s == nil {
		var from *waitList
		youngest := rcu.Token(0)
		w.each(func(l *waitList) bool {
			if t := l.youngestReady(d); t != 0 && (from == nil || newer(t, youngest)) {
				from, youngest = l, t
			}
			return true
		})
		if from == nil {
			return nil
		}
		s = from.takeReady(d) // another goroutine may have been faster
	}
	return s
}

// youngestReady returns the token of the next sheaf that takeReady would take, 0 if there is none.
func (l *waitList) youngestReady(d *rcu.Domain) rcu.Token {
	if l.waits() == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sortReady(d)
	if l.ready.head == nil {
		return 0
	}
	return l.ready.head.token
}

// newer reports whether a was started after b. Tokens wrap.
func newer(a, b rcu.Token) bool { return int64(b-a) < 0 }

// takeStale takes all ready sheaves that were there at the last call already, linked by next. One
// caller at a time (Set.ticking).
func (w *waitLists) takeStale(d *rcu.Domain) *sheaf { return w.take(d, (*waitList).cutStale) }

// takeAll takes all ready sheaves, linked by next.
func (w *waitLists) takeAll(d *rcu.Domain) *sheaf { return w.take(d, (*waitList).cutAll) }

// take takes from each list what cut detaches, under its mutex.
func (w *waitLists) take(d *rcu.Domain, cut func(*waitList) list) *sheaf {
	var all list
	w.each(func(l *waitList) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sortReady(d)
		taken := cut(l)
		l.uncount(taken.head)
		taken.append(all)
		all = taken
		return true
	})
	return all.head
}

func (l *waitList) cutAll() list { return l.ready.cut(0) }

func (l *waitList) cutStale() list {
	// From its top on, ready grows older.
	keep, newest := 0, l.newestAtLastTick
	for s := l.ready.head; s != nil && (newest == 0 || newer(s.token, newest)); s = s.next {
		keep++
	}
	stale := l.ready.cut(keep)
	if l.last != nil {
		l.newestAtLastTick = l.last.token
	} else if l.ready.head != nil {
		l.newestAtLastTick = l.ready.head.token
	}
	return stale
}

// uncount takes a chain of sheaves that have been taken off ready out of nrWaiting. The caller
// holds mu.
func (l *waitList) uncount(s *sheaf) {
	n := l.nrWaiting
	for ; s != nil; s = s.next {
		n--
	}
	mem.Store32(&l.nrWaiting, n)
}

// sortReady moves parked sheaves to waiting, and those whose grace period is over on to ready. The
// caller holds mu, so this only polls: the timer, and what parks sheaves, move grace periods on
// (Domain.Advance).
func (l *waitList) sortReady(d *rcu.Domain) {
	l.sortParked()
	for s := l.waiting; s != nil && d.PollNoAdvance(s.token); s = l.waiting {
		if l.waiting = s.next; l.waiting == nil {
			l.last = nil
		}
		l.ready.push(s)
	}
}

// oldestWaiting returns the token of a sheaf whose grace period is not known to be over, the oldest
// of its list, or 0 if no list has one.
func (w *waitLists) oldestWaiting() (t rcu.Token) {
	w.each(func(l *waitList) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sortParked()
		if l.waiting != nil {
			t = l.waiting.token
		}
		return t == 0
	})
	return t
}

// sortParked appends the parked sheaves to waiting in the order in which they were parked. The
// caller holds mu.
func (l *waitList) sortParked() {
	if invariants.Enabled {
		invariants.Reach(invariants.BarnHeld)
	}
	var oldest, youngest *sheaf
	var arrived int32
	for s := l.parked.Swap(nil); s != nil; {
		next := s.next
		if s.next = oldest; oldest == nil {
			youngest = s
		}
		oldest, s = s, next
		arrived++
	}
	// In this order, so that waits never misses a sheaf on its way from one count to the other.
	mem.Store32(&l.nrWaiting, l.nrWaiting+uint32(arrived))
	l.nrParked.Add(-arrived)
	switch {
	case oldest == nil:
		return
	case l.last == nil:
		l.waiting = oldest
	default:
		l.last.next = oldest
	}
	l.last = youngest
}

// addTo adds the lists' content to a reading.
func (w *waitLists) addTo(o *BarnStats) {
	w.each(func(l *waitList) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sortParked()
		o.Waiting += l.waits()
		o.WaitingObjects += objectsIn(l.waiting) + objectsIn(l.ready.head)
		return true
	})
}
