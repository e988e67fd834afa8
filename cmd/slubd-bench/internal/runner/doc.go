// Package runner decides who runs when. For each case (a workload with
// threads and size) it opens every allocator, finds out how many operations
// fill the bench time, and then goes round by round: in each round every
// allocator runs once, in an order drawn from the seed, so that whatever
// disturbs the machine disturbs all of them alike. Medians and extremes of the
// rounds are the results.
//
//	Plan -> []Case -> Run -> for each case: open, calibrate, rounds, close -> Report
//
// Go's allocators run in this process, native ones in one preloaded child
// each that lives for the whole suite, populations for gc in children that
// live for a case. Everything here is sequential: two measurements never
// overlap.
package runner
