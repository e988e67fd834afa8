// Package rcu tells a writer when no reader can still hold what the writer has taken out of a
// shared structure. Readers take no lock and write to no shared cache line: a registered reader
// pays two loads and a compare per round of its loop, any other goroutine a few nanoseconds per
// section. The package is usable without the rest of the module; within the module, package sheaves
// takes one token for each sheaf of freed objects and polls it, and uses callbacks only where too
// many sheaves wait.
//
// There are three kinds of reader, and one Domain may have all of them at once. docs/rcu.md
// compares them and lists the usual mistakes.
//
//   - QSBR, quiescent-state-based reclamation, as in userspace-rcu and DPDK: a Reader counts as
//     holding references at all times, except at the moments when it says that it holds none. For
//     event loops and pinned workers.
//   - Sections between Enter and Exit, as in the kernel's sleepable RCU: any goroutine,
//     unregistered, for as long as it likes. For request handlers.
//   - Sections of a registered Reader, as in liburcu's membarrier flavour: the cheapest ones, for a
//     goroutine that lives long and has many short sections.
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
// Readers 1 and 3, and handler 1, may have found A before it was unlinked: the grace period waits
// for them. It waits for reader 2 until that goes offline. Offline readers, readers that register
// later, and sections that begin later, such as handler 2, delay no grace period. A domain without
// online readers and open sections completes every grace period at once.
//
// A writer learns of the end in one of four ways: Poll asks, Wait and Synchronize sleep, Defer
// leaves a callback, and Barrier waits for the callbacks left before. Expedite makes the end come
// sooner for all of them.
//
// # Rules for goroutines
//
//   - A Reader belongs to one goroutine at a time. Handing it on needs a happens-before edge, such
//     as a channel send. The Reader must be offline at that time, or not used since Register, or
//     its goroutine must have ended. Race builds report two goroutines that use one Reader
//     unordered. Builds with -tags invariants or -race panic if a goroutine calls a method of a
//     Reader that is online on another goroutine, which has not ended. An iterator and the caller
//     of iter.Pull, which run in turn, may use one Reader, or Section.
//   - What an online reader has found stays valid until its own next Quiescent, Offline or Close;
//     what a section has found stays valid until its Exit. Keep no reference across these.
//   - Load the pointers of the shared structure with sync/atomic or Pointer. The proof at
//     Domain.Start needs it, and so does Go's memory model.
//   - A registered reader starts online. One that neither reports nor goes offline holds up every
//     writer, and is reported: see OnStall. Go offline before anything that may block for long: a
//     system call, a channel, a mutex. Reader.Blocking and Reader.Loop do. A section may block, and
//     holds up every writer meanwhile.
//   - Every Enter is followed by exactly one Exit: a Domain's on any goroutine and CPU, a Reader's
//     on the goroutine that has the Reader.
//   - An online reader, or a goroutine between Enter and Exit, must not call Synchronize, Wait or
//     Barrier, nor block on a mutex whose holder does: each would wait for the other for ever.
//   - Any goroutine may call Start, Poll, PollNoAdvance, Advance, Defer and Stats, reader or not,
//     and all but Stats under any lock. Start, PollNoAdvance and Defer take no lock. Poll takes
//     Domain.mu, whose holders wait for nothing, once in 64 calls that find the period not over.
//     Start and PollNoAdvance make no system call either. Advance does what Poll does for sections,
//     without the answer.
//   - Callbacks run one after the other, those of one CPU in the order of their Defer calls, on a
//     goroutine that exists only while there are callbacks. They may call Defer. They should not
//     block, since all others wait meanwhile; Barrier and Synchronize return ErrInCallback there.
//
// # Lock order
//
// Domain.mu guards registration, the list of waiters that sleep, and the figures of Stats and of
// stalls. Quiescent, Enter, Exit, Start, PollNoAdvance and Defer never take it. Poll takes it once
// in 64 calls that find the period not over, and, as Advance does, when the kernel refuses
// membarrier. In builds with invariants traces.mu lies below it. Sections are counted by
// internal/percpu, without a lock.
package rcu
