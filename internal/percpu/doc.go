// Package percpu gives every CPU a bounded stack of objects that any goroutine
// running there may push to and pop from with a handful of plain instructions:
// no lock, no atomic, no cgo call, no pinning.
//
// # Place in the data flow
//
//	slub.Cache.Alloc -> [percpu.Stack] -> sheaves (replace main) -> Source -> slabs
//
// A Slots is one cache's array of per-CPU slots. A slot holds two Stacks: Main,
// the array of the CPU's main sheaf, and RCU, the array of its rcu_free sheaf.
// What the arrays are and where they come from is package sheaves' business.
//
// A Pop and a Free are a cache's operations on them: func values whose code is the
// engine's and whose slow path is slub's. A PopBySize and a FreeByOwner choose among the
// stacks of many caches first. A Filter is what every Free asks before it touches a stack:
// it finds the owner word, cache and node, of the page that an address is in, if an object can
// start there.
//
// Counters count what happens off the fast path, by atomic additions.
//
// Slots and Counters are cells of per-CPU memory, off-heap (area.go): a row of 64 KiB for
// each CPU, in which the cells of all caches lie side by side. A cell is never handed out
// twice, so that who still uses a closed cache meets zeroes.
//
// A Readers counts package rcu's sections: one row per CPU, in Go's heap, to which a
// sequence adds. See readers.go.
//
// # Two engines
//
// rseq: the operations are restartable sequences (rseq(2), Linux 4.18) in Go
// assembly. The kernel restarts a sequence that it interrupts, by preemption, a
// signal or a migration; the last instruction of each is its only store that
// others may see. Go's own preemption cannot fall inside: assembly has no safe
// points, and a signal restarts the sequence like any other interruption.
//
// trylock: the same operations in Go under the stack's lock, for systems without
// rseq. The lock is tried, never waited for.
//
// The choice is made once at start-up by a self-test, reported by Engine and
// Reason, and forced by the environment variable SLUBD_ENGINE (rseq, rseq-abi0,
// trylock).
//
// # Who may write a stack
//
//   - gate: from open to held, sequences of its CPU by a store, others by
//     compare-and-swap; the holder, to open.
//   - head: the owner CPU's sequences while the gate is open; the holder while it is
//     held.
//   - everything else: the holder only.
//
// # Taking a stack's lock
//
// On its own CPU, TryLock commits the held gate as the last instruction of a
// sequence, so that whoever was interrupted inside a push or pop of this CPU is
// restarted and then sees it. From elsewhere, TryLockCPU swaps the gate and then has
// the kernel restart the sequences running on that CPU (membarrier(2),
// PRIVATE_EXPEDITED_RSEQ). A sequence that commits between the two, a TryLock, has
// overwritten the swapped gate, which carries a ticket for that: TryLockCPU looks again
// after the barrier, and has not got the lock. LockCPU is TryLockCPU until it succeeds.
// Either way no sequence that began before the lock was taken can commit after it: the
// holder owns the stack, even after migrating.
// Unlock stores the open gate last; push and pop load it first. On x86 stores become
// visible in order and loads are done in order, so that a sequence that sees the open
// gate sees all that the holder wrote.
//
// # Lock order
//
//	a stack's lock   never two, but those of dead cells when their page goes; operations
//	                 try, flushes wait
//	areas.mu         which cells are handed out and given up; memory is mapped under it
//
//	spareArrays.mu   a list of addresses; memory is mapped under it
//
// None is taken under another: cells come and go with caches, arrays with capacities.
//
// # Not allowed
//
// Under a stack's lock: blocking, system calls, calls into hooks or into Source,
// taking a second stack's lock (deadPage.discard takes those that nobody holds for long any
// more). A holder that is descheduled doesn't block anybody,
// but sends every operation of that CPU to the slow path meanwhile.
package percpu
