// Package native runs the workloads in C, timed in C: threads are pthreads, clocks are read beside
// the loop, and one cgo call covers a whole run. The dynamic linker decides which malloc the loops
// call, so package runner starts one process per library with LD_PRELOAD set, and Verify checks
// there that the library was loaded.
//
// The loops mirror those of package loops line by line: the same order of operations, the same
// random sequence, one 8-byte store into every object.
//
//	loops.c            the loops of slub.Cache's workloads; which loop runs which workload
//	malloc_loops.c     those of slub.Malloc's workloads in which a thread keeps its objects
//	malloc_handover.c  those in which objects go from thread to thread
//	handover.c         what the threads of a run hand to each other
//	team.c             threads and clocks
//	version.c          names and versions
//	rcu.go, rcu/       loops of liburcu and ck_epoch, compiled when they run, and preloaded
//
// If malloc or pthread_create fails, the process ends with a line on stderr. It is a child made
// for measuring, and its parent reports the death.
//
// This is the only package of the bench that uses cgo. Without cgo, Run and Verify return
// ErrUnavailable.
package native

import "errors"

// ErrUnavailable reports a build without the C loops.
var ErrUnavailable = errors.New("native implementations need a build with cgo on Linux")
