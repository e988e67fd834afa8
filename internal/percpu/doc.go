// Package percpu gives every CPU a bounded stack of objects. Any goroutine that runs on the CPU
// can push to it and pop from it with a handful of plain instructions: no lock, no atomic, no cgo
// call, no pinning.
//
// # Place in the data flow
//
//	slub.Cache.Alloc -> [percpu.Stack] -> sheaves (replace main) -> Source -> slabs
//
// A Slots is one cache's array of per-CPU slots. A slot holds two Stacks: Main, the array of the
// CPU's main sheaf, and RCU, the array of its rcu_free sheaf. Package sheaves makes the arrays and
// decides what they are.
//
// A Pop and a Free are a cache's operations on its stacks: func values whose code belongs to the
// engine and whose slow path belongs to slub. A PopBySize and a FreeByOwner first choose among the
// stacks of many caches. Every Free asks a Filter before it touches a stack: the Filter finds the
// owner word, cache and node, of the page that an address is in, if an object can start there.
//
// Counters count events off the fast path, by atomic additions.
//
// Slots and Counters are cells of per-CPU memory, off-heap (area.go): a row of 64 KiB for each
// CPU, in which the cells of all caches lie side by side. A CPU's part of a cell takes memory from
// its first use on, and has a mark from then on (marks.go): nothing is read, written or interrupted
// for a CPU without one. A cell is handed out again only when no goroutine can use the cache that
// had it, so that an operation on a closed cache finds zeroes (recycle.go).
//
// A Readers counts package rcu's sections: one row per CPU, in Go's heap, to which a sequence adds.
// See readers.go.
//
// # Two engines
//
// rseq: the operations are restartable sequences (rseq(2), Linux 4.18) in Go assembly. The kernel
// restarts a sequence that it interrupts, by preemption, a signal or a migration; the last
// instruction of each sequence is its only store that others may see. Go's own preemption cannot
// happen inside: assembly has no safe points, and a signal restarts the sequence like any other
// interruption.
//
// trylock: the same operations in Go under the stack's lock, for systems without rseq. The lock is
// tried, never waited for.
//
// The choice is made once at start-up, by a self-test. Engine and Reason report it, and the
// environment variable SLUBD_ENGINE forces it (rseq, rseq-abi0, trylock). On arm64 it is trylock
// unless the variable says otherwise.
//
// # Writers of a stack
//
//   - gate: from open to held, the sequences of its CPU by a store, others by compare-and-swap;
//     from held to open, the holder.
//   - head: the sequences of the owner CPU while the gate is open; the holder while it is held.
//   - everything else: the holder only.
//
// # Taking a stack's lock
//
// On its own CPU, TryLock commits the held gate as the last instruction of a sequence. So a
// goroutine that was interrupted inside a push or pop of this CPU is restarted and then sees the
// held gate. From elsewhere, TryLockCPU swaps the gate and then has the kernel restart the
// sequences that run on that CPU (membarrier(2), PRIVATE_EXPEDITED_RSEQ). A TryLock sequence may
// commit between the two. It then overwrites the swapped gate, which carries a ticket for that
// reason: TryLockCPU looks at the gate again after the barrier, and if the ticket is gone it has
// not got the lock. LockCPU is TryLockCPU until it succeeds; LockAll is LockCPU for many stacks,
// with one such call for all of them. Either way no sequence that began before the lock was taken
// can commit after it: the holder owns the stack, even after it has migrated.
//
// Unlock stores the open gate last, as a release; push and pop load it first. On x86 stores become
// visible in order and loads are done in order, and on arm64 the load is an acquire, so that a
// sequence that sees the open gate sees everything that the holder wrote.
//
// # Lock order
//
//	a stack's lock   never two, except by LockAll, and those of dead cells when their page is
//	                 discarded; operations try it, flushes wait for it
//	areas.mu         which cells are handed out and freed; memory is mapped under it
//	spareArrays.mu   a list of addresses; memory is mapped under it
//
// None is taken under another: cells come and go with caches, arrays with capacities.
//
// # Not allowed
//
// Under a stack's lock: blocking, system calls, calls into hooks or into Source, taking a second
// stack's lock. The exceptions are LockAll, which closes all stacks of a cache by one interruption
// of all CPUs, and deadPage.discard, which takes the locks of stacks that have been closed; they
// make system calls under the locks. A holder that is descheduled blocks no goroutine,
// but sends every operation of that CPU to the slow path meanwhile.
package percpu
