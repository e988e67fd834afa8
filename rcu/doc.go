// Package rcu tells a writer when no reader can still hold what the writer
// has taken out of a shared structure. Readers take no lock and share no cache line that
// is written: a registered one pays two loads and a compare per round of its loop, any other
// goroutine some nanoseconds per section. The package is usable without the rest of the
// module; in the module, sheaves hands it one callback per full sheaf of freed objects.
//
// There are two kinds of reader, which one Domain may have at once. docs/rcu.md compares
// them, and shows the mistakes.
//
//   - QSBR, quiescent-state-based reclamation, as in userspace-rcu and DPDK: a Reader
//     is taken to hold references at all times, except at the moments when it says that it
//     holds none. For event loops and pinned workers.
//   - Sections between Enter and Exit, as in the kernel's sleepable RCU: any goroutine,
//     unregistered, for as long as it likes. For request handlers.
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
//	handler 1 ─ ─ Enter ══ A ══ Exit ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─
//	handler 2 ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ Enter ══ never A ═══════════ Exit ─ ─ ─
//	                          ◀──── grace period ────▶
//
// Readers 1 and 3, and handler 1, may have found A before it was unlinked and are waited
// for. Reader 2 is waited for until it goes offline; offline readers, and readers
// that register later, delay nobody, and neither does handler 2. A domain without online
// readers and open sections completes every grace period at once.
//
// A writer learns of the end in one of four ways: Poll asks, Wait and
// Synchronize sleep, Defer leaves a callback, and Barrier waits for the
// callbacks left before. Expedite hurries all of them.
//
// # Rules for goroutines
//
//   - A Reader belongs to one goroutine at a time. Handing it on needs a
//     happens-before edge, such as a channel send. Race builds report two
//     goroutines that use one Reader unordered.
//   - What an online reader has found stays valid until its own next
//     Quiescent, Offline or Close, what a section has found until its Exit, not longer.
//     Keep nothing across these.
//   - Load the pointers of the shared structure with sync/atomic, or Pointer. The proof
//     beside Domain.Start needs it, and so does Go's memory model.
//   - A registered reader starts online. One that neither reports nor goes
//     offline holds up every writer, and is reported: OnStall. Go offline before anything
//     that may block for long: a system call, a channel, a mutex. Reader.Blocking and
//     Reader.Loop do. A section may block, and holds up every writer meanwhile.
//   - Every Enter is followed by one Exit, on whatever goroutine and CPU.
//   - An online reader, or one between Enter and Exit, must not call Synchronize, Wait or
//     Barrier, nor block on a mutex whose holder does: each would wait for the other for ever.
//   - Start, Poll, Elapsed, Defer and Stats may be called by any goroutine, reader or
//     not, and all but Stats under any lock. Start, Elapsed and Defer take no lock; Poll
//     does once in 64 calls in vain, Domain.mu, whose holders wait for nothing. Start and
//     Elapsed make no system call either.
//   - Callbacks run one after the other, those of one CPU in the order of their Defer
//     calls, on a goroutine that exists only while there are callbacks. They may call
//     Defer. They should not block, since all others wait meanwhile; Barrier
//     and Synchronize return ErrInCallback there.
//
// # Lock order
//
// Domain.mu guards registration, the bookkeeping of Stats and stalls, and who sleeps. It is
// never taken by Quiescent, Enter, Exit, Start, Elapsed and Defer; Poll takes it once in 64
// calls in vain, and where the kernel refuses membarrier. In builds with invariants traces.mu lies below it. Sections are counted by
// internal/percpu, without a lock.
package rcu
