// Package slubtest helps to test programs that use package slub: NoLeaks fails a test that has not
// freed what it has allocated, with the stacks of the allocations; FailAlloc lets allocations fail;
// DelaySlowPaths makes the slow paths take longer.
//
//	func TestServer(t *testing.T) {
//		slubtest.NoLeaks(t) // before any cache is made
//		...
//	}
//
// # Place in the data flow
//
//	NoLeaks -> DefaultBuckets or sources -> Barrier -> Live: what is in use before
//	NoLeaks -> sampling.SampleAll -> slub.New: every object is a sample
//	the end of the test -> Barrier -> Live -> Sampled -> testing.TB.Errorf
//
//	FailAlloc -> sampling.SampleAll, failslab.Set: every allocation asks the Injector
//	DelaySlowPaths -> failslab.SetDelay: every slow path asks the Delayer, and may sleep
//
// It is for tests only: it links package testing.
//
// # Locks
//
//	draw.mu   a leaf; allocations and slow paths take it
//
// NoLeaks has none. What it calls takes locks of its own.
//
// # Not allowed
//
// NoLeaks without sources, and FailAlloc, in tests that run in parallel with others: the caches
// that these make count as the test's. DelaySlowPaths in such tests: it concerns all caches.
package slubtest
