package rcu

import "github.com/slubd/slubd/internal/invariants"

// Start begins a grace period that covers everything the caller did before:
// once Poll says that it is over, no reader holds a reference to what the
// caller had unlinked before Start. Costs one atomic addition. Any goroutine,
// under any lock; lock-free.
//
// Why it is enough, with U the store that unlinked the object and A the
// addition below, U before A. Go's atomics are sequentially consistent, so
// there is one order of all of them.
//
//   - Pairs with Reader.Quiescent, which loads seq and then stores it in the
//     reader's word. If scan finds a word that has reached A's result, that
//     load came after A, so whatever the reader has loaded since then came
//     after U and is not the object. What it had loaded earlier, it used before
//     the store, which scan has seen, so the use happened before Poll returned.
//   - Pairs with Reader.Offline: the same, for the uses before the store of 0.
//   - Pairs with Reader.Online, which stores the word before the reader's
//     first load. If scan still finds 0, then A came before the scan, the scan
//     before that store, and the store before the load: it came after U.
//     For this it does not matter how old the number in the word is.
func (d *Domain) Start() Token { return d.seq.next() }

// Poll reports whether t's grace period is over, and moves it on (kernel:
// poll_state_synchronize_rcu). It never blocks: it looks at the readers' words and the sections'
// counters at most once. It costs a load and a compare if the end has been seen before, and two
// loads more if the reader that was last seen behind still is. In a domain where Enter has been
// used, one call per grace period makes a system call of some microseconds; see PollNoAdvance. One
// in 64 calls that return false looks for stalls, under Domain.mu, a leaf. Any goroutine may call
// Poll, under any lock.
func (d *Domain) Poll(t Token) bool {
	if reached(d.completed.load(), t) || d.step(t) {
		return true
	}
	d.countMiss()
	return false
}

// PollNoAdvance is Poll without its side effects: it makes no system call, wakes no goroutine, and
// does not move the grace period on. In a domain where Enter has been used another call has to do
// that: Poll, Advance, Wait, Synchronize or Defer. Any goroutine may call it, under any lock;
// lock-free.
func (d *Domain) PollNoAdvance(t Token) bool { return reached(d.completed.load(), t) || d.scan(t) }

// Advance moves on the grace periods that have been started, as Poll does. It does nothing in a
// domain where Enter has not been used. Any goroutine may call it, under any lock.
func (d *Domain) Advance() {
	if s := d.sections.Load(); s != nil {
		s.advance(d, d.seq.load())
	}
}

// step is Poll without the look for stalls.
func (d *Domain) step(t Token) bool {
	if t == 0 {
		return true // advance compares by reached, to which 0 lies ahead of half of all numbers
	}
	// Pairs with makeSections, as scan does: t was started before this load.
	if s := d.sections.Load(); s != nil && !reached(s.completed.load(), t) {
		s.advance(d, t)
	}
	over := d.scan(t)
	if !over {
		d.times.begin(t, &d.completed)
	}
	return over
}

// scan is the slow path of Poll. It publishes in completed how far all readers have come, so that
// other callers need not look again.
func (d *Domain) scan(t Token) bool {
	if t == 0 {
		return true
	}
	if b := d.blocker.Load(); b != nil && b.behind(t) {
		return false
	}
	// seq is loaded before sections and the words. For a reader that comes online during the scan
	// the argument at Start holds for all numbers up to here; for the goroutine that makes the
	// sections the one at makeSections does.
	oldest := d.seq.load()
	if invariants.Enabled {
		invariants.Check(reached(oldest, t), "rcu: token %#x of another domain: the sequence is at %#x", t, oldest)
	}
	if s := d.sections.Load(); s != nil {
		if c := s.completed.load(); !reached(c, oldest) {
			oldest = c
		}
	}
	var blocker *Reader
	for _, r := range d.list() {
		if w := r.seen(); w != offline && !reached(w, oldest) {
			oldest, blocker = w, r
		}
	}
	if d.blocker.Load() != blocker { // mostly both are nil
		d.blocker.Store(blocker)
	}
	if d.completed.raise(oldest) {
		d.periods.Add(1)
		d.times.end(oldest)
	}
	if invariants.Enabled {
		d.check()
	}
	return reached(oldest, t)
}
