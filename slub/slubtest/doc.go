// Package slubtest helps to test programs that use package slub: NoLeaks fails a test that has not
// freed what it has allocated, with the stacks of the allocations.
//
//	func TestServer(t *testing.T) {
//		slubtest.NoLeaks(t) // before any cache is made
//		...
//	}
//
// # Place in the data flow
//
//	NoLeaks -> sampling.SampleAll -> slub.New: every object is a sample
//	the end of the test -> Barrier -> Live -> Sampled -> testing.TB.Errorf
//
// It is for tests only: it links package testing.
//
// # Locks
//
// None. What it calls takes locks of its own, and may be called by any goroutine.
//
// # Not allowed
//
// NoLeaks without sources in tests that run in parallel with others: the caches that these make
// count as the test's.
package slubtest
