package rcu

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
)

// sections is what grace periods need to know of Enter and Exit. The scheme is that of
// the kernel's sleepable RCU (kernel/rcu/srcutree.c): sections are counted under one of
// two indices, and a grace period waits until both have been seen empty.
//
//	resting ──Fence──▶ drainIdle ──idle index empty, Flip──▶ drainOld ──old index empty──▶ resting
//
// Whoever may make a system call moves it on, one at a time: see advance. In the package's
// order of events, with U the store that unlinked an object, A the addition of Start and F
// the Fence of a grace period that was begun after A, the argument is this.
//
//   - Fence pairs with Enter. Enter is a plain addition E, which the processor may make
//     visible only after the section's first loads. F has every running thread execute a
//     memory barrier. A section whose E comes before its thread's barrier shows in the
//     counters from F on. In one whose E comes after it, all loads come after U: it can't
//     have found the object. (Without sequences E is an atomic addition, a barrier itself,
//     and F is nothing: the same holds of the moment when the counters are read.)
//   - So the sections to wait for are counted by the time F is over, under either index: a
//     goroutine may have loaded the index, been descheduled over a flip, and counted under
//     what is the idle one now. Once each index has been seen without open sections after
//     F, all of them have ended. They need not be seen empty at the same time.
//   - Fence pairs with Reader.Enter in the same way. Its store of the reader's word is plain, and
//     scan loads the words after it has loaded completed, hence after the Fence of each grace
//     period that it says is over. A section whose store comes before its thread's barrier shows in
//     its word by then; one whose store comes after it has loaded nothing before the barrier.
//   - Open pairs with Exit: it reads exits before enters. An exit that it sees belongs to a
//     section whose enter it will see too. If the sums agree, the enters that it has seen,
//     among them all that F has made visible, are those of the exits that it has seen.
//   - Exit pairs with the updater's use of the memory after Poll. What the section did
//     comes before the addition of Exit, which Open has seen: x86 keeps stores in order, and
//     loads before later stores; the atomic addition elsewhere is a barrier.
//   - Flip is for progress, not for safety: sections that begin go to the other index, so
//     that the old one runs empty however many there are. Hence the idle one is drained
//     first, while nobody is sent there. Stragglers may come later, having loaded the index
//     before the Flip; they find nothing old and delay a later grace period at most.
//
// Invariants: completed <= goal <= seq while a grace period is driven.
type sections struct {
	plain   entrance // of most calls of Enter; immutable, as the next two
	looking entrance // of those that are looked at
	counts  *percpu.Readers
	traces  traces
	_       [padding]byte

	places places
	_      [padding]byte

	completed sequence      // last grace period that no section holds up; atomic, only rises
	goal      atomic.Uint64 // Token of the grace period driven now; 0: resting; driving
	driving   atomic.Bool   // lock of the drive; tried, never waited for
	drainOld  bool          // the index has been flipped; driving
	drained   uint64        // grace periods driven to their end; driving

	stalledAt    Token     // goal that Domain.scanStalls last found, or 0; Domain.mu
	since        time.Time // when scanStalls first found that goal; Domain.mu
	reported     time.Time // last report, or the first look but Stats'; 0: none; Domain.mu
	atPlaces     []string  // Stall.Places of that stall; Domain.mu
	stack        string    // Stall.Stack of that stall; Domain.mu
	profiled     bool      // both have been looked for; Domain.mu
	noMembarrier bool      // its refusal has been reported; Domain.mu
}

// advance moves the domain's grace periods on, up to t, as far as they go without waiting. Each of
// them takes one system call where sections are sequences, and none elsewhere. There are two at
// most, since the second covers every Start before the call. If the kernel refuses the system call,
// each stops all goroutines for some 20 us instead.
func (s *sections) advance(d *Domain, t Token) {
	if !s.driving.CompareAndSwap(false, true) {
		return
	}
	defer s.driving.Store(false)
	for range 2 {
		if reached(s.completed.load(), t) || !s.drain(d) {
			return
		}
	}
}

// drain moves one grace period on, and reports whether it is over. The caller has set driving.
func (s *sections) drain(d *Domain) bool {
	if s.goal.Load() == 0 {
		// Before the Fence: it covers every Start up to here.
		goal := d.seq.load()
		done, refused := s.counts.Fence()
		if refused != nil {
			d.reportNoMembarrier(s, refused)
		}
		if !done {
			return false
		}
		if invariants.Enabled {
			invariants.Reach(invariants.Fenced)
		}
		s.goal.Store(uint64(goal))
	}
	if !s.drainOld {
		if !s.empty(s.counts.Current().Other()) {
			return false
		}
		s.counts.Flip()
		s.drainOld = true
	}
	if !s.empty(s.counts.Current().Other()) {
		return false
	}
	s.drainOld = false
	s.completed.raise(Token(s.goal.Load()))
	s.goal.Store(0)
	if s.drained++; s.drained%drainsPerLook == 0 {
		d.lookAtEnters(s, laterLooks)
	}
	return true
}

// empty reports whether no section is open under an index. It panics if that had more exits than
// enters.
func (s *sections) empty(i percpu.Index) bool {
	n := s.counts.Open(i)
	if n < 0 {
		panic("rcu: more Exits than Enters: a Section was exited twice")
	}
	return n == 0
}

// open returns how many sections are open, roughly.
func (s *sections) open() int64 {
	i := s.counts.Current()
	return max(s.counts.Open(i), 0) + max(s.counts.Open(i.Other()), 0)
}
