package rcu

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// offline is the word of a reader that holds no references. No sequence
// number equals it.
const offline Token = 0

// Reader is one goroutine's membership in a Domain, made by Domain.Register.
// Its methods belong to one goroutine at a time; none of them blocks, and
// none but Close takes a lock. It is in one of three states:
//
//	online ⇄ offline → closed
//
// Online it may hold references to what the domain protects, and is waited
// for until it reports; offline and closed it holds none.
type Reader struct {
	word    atomic.Uint64 // Token last seen, or offline; stored by the owner, loaded by scans
	domain  *Domain       // immutable
	closed  bool          // owner only
	nesting nesting       // owner only; empty except under invariants
	owner   owner         // atomic; empty except under invariants
	_       [padding]byte

	name       string  // immutable, as the next two
	goroutine  uint64  // that registered it
	registered uintptr // where: program counter in Register's caller

	held  Token     // the word that Domain.survey last found behind, or offline; Domain.mu
	since time.Time // when survey found it first; Domain.mu
	named time.Time // when a stall was last reported; Domain.mu
}

// yields bounds how often a report yields the processor to a waiter. One in 61 of Go's
// scheduling decisions takes the goroutine that has been runnable for longest, which may be
// a reader that has reported already. After a single yield it would keep the processor from
// the waiter for the runtime's time slice, 10 ms.
const yields = 4

// Quiescent says that the caller holds no references now, and goes on online.
// Call it once per round of the reader's loop. Costs two loads and a compare;
// a store is added once per Start of the domain. On an offline reader it does nothing.
//
// Where readers take up all of GOMAXPROCS, the report that somebody in Synchronize waits
// for also yields the processor to him (runtime.Gosched).
func (r *Reader) Quiescent() {
	r.nesting.reports(r, "Quiescent")
	now, w := r.domain.seq.load(), r.seen()
	if w == now {
		// Any grace period that waits for this reader waits for a larger
		// number, so storing the same one would end nobody's wait.
		return
	}
	if w == offline {
		r.mustBeOpen("Quiescent")
		return
	}
	r.word.Store(uint64(now)) // the load of now and this store pair with Domain.Start
	r.owner.record()
	// Until the waiter has looked: spin then advances seq.
	for n := 0; n < yields && r.domain.starved.Load() > 0 && r.domain.seq.load() == now; n++ {
		runtime.Gosched()
	}
}

// Offline says that the caller holds no references and will take none until
// Online: nobody waits for it meanwhile. On an offline reader it does nothing.
func (r *Reader) Offline() {
	r.nesting.reports(r, "Offline")
	r.mustBeOpen("Offline")
	r.word.Store(uint64(offline)) // pairs with Domain.Start
}

// Online ends Offline: the caller may take references again. On an online
// reader it does nothing; in particular it is no report.
func (r *Reader) Online() {
	r.nesting.outside(r, "Online")
	r.mustBeOpen("Online")
	if r.seen() == offline {
		r.goOnline()
		r.owner.record()
	}
}

// goOnline pairs with Domain.Start: the store comes before any load of the caller's that
// follows.
func (r *Reader) goOnline() { r.word.Store(uint64(r.domain.seq.load())) }

// Lock marks the beginning of a section in which the caller uses references.
// Sections nest. It only asserts, in builds with -tags invariants or -race:
// calling it offline or after Close panics, and so do Quiescent, Offline,
// Online and Close inside. In other builds it does nothing at all.
func (r *Reader) Lock() { r.nesting.lock(r) }

// Unlock ends the section that the last Lock began. It only asserts, as Lock.
func (r *Reader) Unlock() { r.nesting.unlock(r) }

// Close takes the reader out of its domain for good. Like Offline it says
// that the caller holds no references. It always returns nil; closing again,
// or closing nil, does nothing. Using a closed reader panics.
func (r *Reader) Close() error {
	if r == nil || r.closed {
		return nil
	}
	r.nesting.reports(r, "Close")
	r.leave()
	return nil
}

// leave is Close for who says nothing about the references that he holds.
func (r *Reader) leave() {
	r.word.Store(uint64(offline)) // pairs with Domain.Start
	r.closed = true
	r.domain.unregister(r)
}

// seen returns the sequence number that the reader last saw, or offline.
func (r *Reader) seen() Token { return Token(r.word.Load()) }

// behind reports whether the reader holds up t's grace period.
func (r *Reader) behind(t Token) bool {
	w := r.seen()
	return w != offline && !reached(w, t)
}

func (r *Reader) mustBeOpen(method string) {
	if r.closed {
		r.misused(method, "after Close")
	}
}

func (r *Reader) misused(method, how string) {
	panic(fmt.Sprintf("rcu: reader %q: %s %s", r.name, method, how))
}
