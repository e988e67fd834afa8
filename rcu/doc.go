// Package rcu tells a writer when no reader can still hold what the writer
// has taken out of a shared structure. Readers pay a load and a compare per
// round of their loop: they take no lock and write nothing unless a writer is
// waiting for them. It imports only the standard library and
// internal/invariants and is usable without the rest of the module; in the
// module, sheaves hands it one callback per full sheaf of freed objects.
//
// The scheme is QSBR, quiescent-state-based reclamation, as in userspace-rcu
// and DPDK: a Reader is taken to hold references at all times, except at the
// moments when it says that it holds none.
//
// # The time line
//
// The Domain keeps one sequence number. A writer advances it and remembers
// the result; a reader copies it into a word of its own whenever it holds no
// reference. Once every word has caught up, the grace period is over.
//
//	           unlink A   Start() = 9                   Poll(9) = true
//	writer ────────●──────────●───────────────────────────────●── free A
//	sequence 7 ───────────────9─────────────────────────────────────────▶
//
//	reader 1 ═══7═══ A ═══════════ Quiescent ═══9═══ never A ════════════
//	reader 2 ═══7═══ A ══ Offline ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ Online ═══9════
//	reader 3 ═══7═══ A ═════════════════════ Quiescent ═══9═══ never A ══
//	reader 4                           Register ═══9═══ never A ═════════
//	                          ◀──── grace period ────▶
//
// Readers 1 and 3 may have found A before it was unlinked and are waited for.
// Reader 2 is waited for until it goes offline; offline readers, and readers
// that register later, delay nobody. A domain without online readers
// completes every grace period at once.
//
// A writer learns of the end in one of four ways: Poll asks, Wait and
// Synchronize sleep, Defer leaves a callback, and Barrier waits for the
// callbacks left before.
//
// # Rules for goroutines
//
//   - A Reader belongs to one goroutine at a time. Handing it on needs a
//     happens-before edge, such as a channel send. Race builds report two
//     goroutines that use one Reader unordered.
//   - What an online reader has found stays valid until its own next
//     Quiescent, Offline or Close, not longer. Keep nothing across these.
//   - Load the pointers of the shared structure with sync/atomic. The proof
//     beside Domain.Start needs it, and so does Go's memory model.
//   - A registered reader starts online. One that neither reports nor goes
//     offline holds up every writer: Stats names it. Go offline before anything
//     that may block for long: a system call, a channel, a mutex.
//   - An online reader must not call Synchronize, Wait or Barrier, nor block
//     on a mutex whose holder does: each would wait for the other for ever.
//   - Start, Poll, Defer and Stats may be called by any goroutine, reader or
//     not. Start, Poll and Defer take no lock and never block, so they may be
//     called under any lock.
//   - Callbacks run one after the other, in the order of their Defer calls, on
//     a goroutine that exists only while there are callbacks. They may call
//     Defer. They should not block, since all others wait meanwhile; Barrier
//     and Synchronize return ErrInCallback there.
//
// # Lock order
//
// Domain.mu is the only lock. It guards registration and the bookkeeping of
// Stats, is a leaf, and is never taken by Quiescent, Start, Poll or Defer.
package rcu
