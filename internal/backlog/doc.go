// Package backlog bounds the bytes that wait for grace periods.
//
// A Backlog counts what its queues hold. Beyond the soft limit it expedites the grace period;
// at the hard limit a caller that adds more has to wait, as long as Config.MaxWait or its own
// context says. One reader that never reports could otherwise take all memory. The hard limit is
// the Backlog's own, or that of a Pool, which all Backlogs of an arena share.
//
//	bytes = what the queues have charged and not released
//	bytes <= hard limit, except for what is counted in Overruns, and for a first charge that
//	         alone exceeds the limit
//	bytes of a Pool = sum of the bytes of the Backlogs that charge it
//
// A queue charges before it takes something in, and releases before its objects are reclaimed.
// So the limit holds at every instant. The queues are the Sets of package sheaves and slub's
// free queues; a cache and its aliases share one Backlog, and so do all sizes of slub.Buckets.
//
// # Locks
//
// Backlog.mu guards the list of queues. It is held while queues start and reclaim, and so while
// destructors run; only an expedited round, Add and Remove take it. Pool.mu guards the list of a
// Pool's Backlogs and is a leaf; Add and Remove take it under Backlog.mu. TryCharge, Adjust and
// Release take no lock and may be called under a stack's lock.
package backlog
