package rcu

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/invariants"
)

// offline is the word of a reader that holds no references. No sequence number equals it.
const offline Token = 0

// Reader is one goroutine's registration with a Domain, made by Domain.Register. Only one goroutine
// at a time may call its methods. None of them blocks, and none but Close takes a lock. A Reader is
// in one of three states:
//
//	online ⇄ offline → closed
//
// Online it may hold references to what the domain protects, and grace periods wait until it
// reports. Offline and closed it holds none.
type Reader struct {
	word    uint64  // last Token seen, or offline; stored by the owner, loaded by scans; atomic
	plain   uint64  // what word is when Enter may store it plainly: offline, or never; owner only
	domain  *Domain // immutable
	depth   int     // sections around which the reader is online anyway; owner only
	closed  bool    // owner only
	nesting nesting // owner only; empty except under invariants
	owner   owner   // atomic; empty except under invariants
	_       [padding]byte

	name       string  // immutable, as the next two fields
	goroutine  uint64  // number of the goroutine that called Register
	registered uintptr // program counter in the caller of Register or Run; see register

	stalledAt Token     // word that Domain.scanStalls last found behind, or offline; Domain.mu
	since     time.Time // when scanStalls first found that word; Domain.mu
	reported  time.Time // last report, or the first look but Stats'; 0: none; Domain.mu
	stack     string    // of the reports of that stall; Domain.mu
	profiled  bool      // the stack has been looked for; Domain.mu
}

// yields bounds how often a report yields the processor to a waiter. One in 61 of Go's scheduling
// decisions takes the goroutine that has been runnable for longest, which may be a reader that has
// reported already. After a single yield that reader would keep the processor from the waiter for
// the runtime's time slice, 10 ms.
const yields = 4

// Quiescent says that the caller holds no references at this moment. The reader stays online. Call
// it once per round of the reader's loop. It costs two loads and a compare, and one store more
// after a Start of the domain. On an offline reader it does nothing.
//
// Where readers take up all of GOMAXPROCS, a report that a caller of Synchronize waits for also
// yields the processor to that caller (runtime.Gosched).
func (r *Reader) Quiescent() {
	r.nesting.holdsNothing(r, "Quiescent")
	now, w := r.domain.seq.load(), r.seen()
	if invariants.Enabled && w != offline {
		r.owner.record()
	}
	if w == now {
		// A grace period that waits for this reader waits for a larger number. Storing the same one
		// would end no wait.
		return
	}
	if w == offline {
		r.mustBeOpen("Quiescent")
		return
	}
	r.store(now) // the load of now and this store pair with Domain.Start
	// A waiter that has got the processor and looked advances seq, in spin.
	for n := 0; n < yields && r.domain.waitersNeedCPU.Load() > 0 && r.domain.seq.load() == now; n++ {
		runtime.Gosched()
	}
}

// Offline says that the caller holds no references and will take none until Online: no grace period
// waits for it meanwhile. On an offline reader it does nothing.
func (r *Reader) Offline() {
	r.nesting.holdsNothing(r, "Offline")
	r.mustBeOpen("Offline")
	r.store(offline) // pairs with Domain.Start
	r.depth = 0
}

// Online ends Offline: the caller may take references again. On an online reader it does nothing;
// in particular it does not report.
func (r *Reader) Online() {
	r.nesting.outside(r, "Online")
	r.mustBeOpen("Online")
	if r.seen() == offline {
		r.owner.record() // before it is online: the last owner may call Synchronize now
		r.goOnline()
	}
}

// goOnline pairs with Domain.Start: the store comes before the caller's later loads.
func (r *Reader) goOnline() { r.store(r.domain.seq.load()) }

// Lock marks the beginning of a section in which the caller uses references. Sections nest. Lock
// only asserts, in builds with -tags invariants or -race: Lock on an offline or closed reader
// panics, and so do Quiescent, Offline, Online and Close inside the section, and an Exit that makes
// the reader offline there. In other builds it does nothing.
func (r *Reader) Lock() { r.nesting.lock(r) }

// Unlock ends the section that the last Lock began. It only asserts, as Lock does.
func (r *Reader) Unlock() { r.nesting.unlock(r) }

// Close removes the reader from its domain for good. Like Offline it says that the caller holds no
// references. It always returns nil; closing again, or closing nil, does nothing. Using a closed
// reader panics, except for Exit, Lock and Unlock in builds without invariants.
func (r *Reader) Close() error {
	if r == nil || r.closed {
		return nil
	}
	r.nesting.holdsNothing(r, "Close")
	r.close()
	return nil
}

// close is Close without its assertion. Run calls it even if work has panicked or exited inside a
// section, and that panic must not be hidden behind another one.
func (r *Reader) close() {
	if r.closed {
		return
	}
	r.store(offline) // pairs with Domain.Start
	r.closed, r.plain = true, never
	r.domain.unregister(r)
}

// seen returns the sequence number that the reader last saw, or offline.
func (r *Reader) seen() Token { return Token(atomic.LoadUint64(&r.word)) }

// store sets the word, with a full barrier.
func (r *Reader) store(t Token) { atomic.StoreUint64(&r.word, uint64(t)) }

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
