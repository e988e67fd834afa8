// Package sheaves keeps free objects close to the CPU that will want them next:
// a sheaf is a bounded array of free objects, every CPU has a main and a spare
// one, and every node has a barn where CPUs exchange full ones for empty ones.
//
// # Place in the data flow
//
//	Alloc   <- main <- spare <- barn (full) <- Source.Refill
//	Free    -> main -> spare -> barn (full) -> Source.Flush
//	FreeRCU -> rcu_free -> barn (waiting, one grace period) -> Source.Expire -> barn (full)
//
// It knows neither slabs nor pages: what lies below is a Source. The operations
// that main can answer are percpu.Pop and percpu.Free and don't come here; this
// package is what they fall back on (kernel 7.x, mm/slub.c: __pcs_replace_empty_main,
// __pcs_replace_full_main, __kfree_rcu_sheaf and around them).
//
// # Sheaves
//
//   - main: never absent while its stack is unlocked. Lives in a percpu.Stack,
//     whose header holds its size; the sheaf's own size is stale meanwhile.
//   - spare: absent, empty, full, or after a swap partly full.
//   - rcu_free: absent or holding 1..capacity-1 objects. All of it is charged to the
//     Backlog, if there is one, before it is installed.
//   - full, empty: in the barn, at most MaxFull and MaxEmpty, both soft limits.
//     A "full" sheaf that came through Expire may hold fewer objects.
//   - waiting: in the barn, detached from a CPU, stamped with the grace period
//     that its objects must see out.
//   - ready: in the barn, that grace period over. A CPU that runs dry takes the
//     youngest, runs Expire on it and has it for main; the timer does so with those
//     that nobody wanted for a period and gives them the places that the limits leave;
//     beyond MaxWaiting a callback does.
//
// Objects in main, spare and the barn's full sheaves have passed the free hooks;
// those in rcu_free, waiting and ready sheaves have not.
//
// # Changing the limits
//
// SetCapacity and SetLimits work under load. Every sheaf carries its own limit, and none
// enters a stack or a barn's list whose limit isn't the set's: whoever finds that it was
// overtaken gives the sheaf up, objects to the Source, memory to the pool of its capacity,
// which goes back to the kernel with its last sheaf. See SetCapacity for the order.
//
// # Locks, outer to inner
//
//	Backlog.mu: while members submit and reap, and so while destructors run
//	flush mutex (Set.flushing), changes of limits too; Set.ticking, only tried but by Close
//	  percpu.Stack lock, RCU: tried by operations, taken by flushes
//	  percpu.Stack lock, Main: the same; the two are never held at once
//	    barn mutex: under a stack's lock only tried
//	      pools' mutex: never under a stack's lock
//
// After every unlock the goroutine may be on another CPU. A walk that locks again
// therefore takes the stack it finds as it finds it; the sheaf in its hands goes to
// the barn it looked up first, because that is where its objects belong.
//
// # Not allowed
//
// Calling Source, rcu (but Start), the pool or a Backlog (but TryCharge and Release) under
// a stack's lock. Waiting for a stack's lock in Alloc, Free or FreeRCU: they report failure
// and the caller goes to the slabs. FreeRCU waits for the Backlog, holding nothing, if its
// caller allows.
package sheaves
