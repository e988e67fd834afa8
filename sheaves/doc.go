// Package sheaves keeps free objects close to the CPU that will want them next. A sheaf is a
// bounded array of free objects. Every CPU has a main and a spare one for objects of its node, and
// every node has a barn, where CPUs exchange full sheaves for empty ones. Objects of other nodes
// gather in sheaves of their own and go home as a whole. Where the objects come from is a
// [Source]'s business: package slub's is a cache's slabs, and a pool of objects of one's own can be
// another (see [New]'s example).
//
// # Operations
//
//	Alloc   <- main <- spare <- barn (full) <- barn (ready) <- Source.Refill
//	Free    -> main -> spare -> barn (full) -> Source.Flush
//	FreeRCU -> rcu_free -> barn (waiting, one grace period) -> Source.Reclaim -> barn (full)
//
// [Set.Alloc], [Set.Free] and [Set.FreeRCU] do all of that. They begin with one restartable
// sequence on the CPU's stack, about as cheap as a function call, and end at the Source if no sheaf
// serves. [Set.Prefill] lends a sheaf from which as many objects as were asked for can be taken
// without fail.
//
// The operations called Try..., [Set.AllocBulk] and [Set.FreeBulk] are parts of these, for a caller
// that can do the rest better itself: they leave out the sequence, which package slub has inlined,
// and the Source, and report failure instead. (Kernel 7.x, mm/slub.c: __pcs_replace_empty_main,
// __pcs_replace_full_main, __kfree_rcu_sheaf and around them.)
//
// # Sheaves
//
//   - main: never absent while its stack is unlocked. Lives in a percpu.Stack, whose header holds
//     its size; the size in the sheaf is stale meanwhile.
//   - spare: absent, empty, full or partly full. It changes places with main, except a few
//     objects; see margin. (The kernel swaps the two as they are.)
//   - rcu_free: absent, or holding 1..capacity-1 objects. All of it is charged to the Backlog, if
//     there is one, before it is installed.
//   - full, empty: in the barn, at most MaxFull and MaxEmpty, both soft limits. A "full" sheaf that
//     came from Source.Reclaim may hold fewer objects.
//   - waiting: in the barn, in a list of the CPU that it was detached from. It was started: it has
//     the token of the grace period that its objects wait for.
//   - ready: in the barn, that grace period over. A CPU that finds no other objects takes the
//     youngest of its own, or else of another CPU's, has it reclaimed and makes it main. The timer
//     reclaims those that no CPU wanted for a period and puts them into the barn as far as its
//     limits allow. Beyond MaxWaiting a callback does.
//
// A CPU has these three once more for each other node that it has freed objects of, or allocated
// from by TryAllocNode (remote.go). They exchange sheaves with that node's barn. What is freed goes
// to sheaves of its node. But where memory is short a refill may bring objects of several nodes, so
// that TryAllocNode looks at each object.
//
// Source.Reclaim has been called on the objects in main, spare and the barn's full sheaves, if they
// came from FreeRCU; it has yet to be called on those in rcu_free, waiting and ready sheaves.
//
// # Changing the limits
//
// SetCapacity and SetLimits work under load. Every sheaf has a limit of its own, and none enters a
// stack or a barn's list unless that is the Set's. A goroutine whose sheaf has become stale gives
// it back: the objects to the Source, the sheaf to the pool of its capacity, which goes back to the
// kernel with its last sheaf. See SetCapacity for the order.
//
// # Memory
//
// A CPU's stacks and sheaves lie on its node, where the CPU has touched them first, and a node's
// barn in memory that is bound to the node, if Config.NodeMemory has some. A Set itself and the
// constant part of a barn lie in Go's heap.
//
// # Locks, outer to inner
//
//	the Backlog's mutex: while its queues start and reclaim, and so while destructors run
//	Set.flushing: a flush, a change of limits, Close
//	  Set.ticking: tried by the timer, taken by Close
//	    percpu.Stack lock, RCU: tried by operations, taken by flushes
//	    percpu.Stack lock, Main: the same; the two are never held at once
//	      barn mutex: under a stack's lock only tried
//	waitList.mu: never under a stack's lock; nothing is taken under it
//	remote.making: the stacks of a rank are made under it, and cells of per-CPU memory handed out
//	inFlight.mu: one Barrier's wait at a time; nothing is taken under it
//	    pools' mutex: never under a stack's lock
//
// After every unlock the goroutine may be on another CPU. A walk that locks again therefore takes
// the stack as it finds it. The sheaf that it brings goes to the barn that it looked up first,
// because that is where the objects belong.
//
// # Not allowed
//
// Calling the Source, the pool, rcu (except Start) or a Backlog (except TryCharge, Adjust and
// Release) under a stack's lock. Waiting for a stack's lock in an operation: it goes on to the
// Source, or reports failure. FreeRCU waits for the Backlog, holding no lock, if its caller allows.
package sheaves
