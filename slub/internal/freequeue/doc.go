// Package freequeue holds objects given to FreeRCU that no sheaf has taken, until a grace period
// is over (kernel: the machinery of kvfree_call_rcu below the sheaves).
//
// # Words
//
//   - start: an object is open while more may join it; the page or chain that holds it is then
//     started, which gives it the token of a grace period.
//   - ready: that grace period is over.
//   - reclaim: destructors run, and the objects go back to slabs (Config.Reclaim).
//
// # Where an object waits
//
// When memory is short, Add falls back step by step, so that no object is ever lost:
//
//	a page of pointers             from the pool or newly mapped
//	a page of the pool's reserve
//	a chain through the objects    if Config.Links can link them
//	a grace period, waited for     the FreeRCU itself reclaims the object
//	a callback of the domain       where FreeRCU may not wait, or has waited for backlog.MinWait
//
// The last step alone allocates Go memory. The first two cost a few stores under the lock of the
// object's node.
//
// # What reclaims
//
// One goroutine at a time reclaims started pages and chains: the timer, which also starts them;
// an Alloc that finds no sheaf, by Poll; Barrier and Close; and an expedited round of the backlog.
//
// # Locks, outer to inner
//
//	Queue.reclaiming    while objects are reclaimed, destructors included; Barrier and Close wait
//	                    for it, all others only try it
//	  nodeQueue.mu      a few stores; rcu's Start is called under it
//	pagePool.mu         a list of pages; nothing is mapped under it
//
// nodeQueue.mu and pagePool.mu are never held together.
package freequeue
