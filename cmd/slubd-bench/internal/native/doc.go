// Package native runs the workloads in C, timed in C: threads are pthreads,
// clocks are read beside the loop, and one cgo call covers a whole run. Which
// malloc the loops reach is the dynamic linker's choice, so package child
// starts one process per allocator with LD_PRELOAD set, and Verify proves
// there that the preload took effect.
//
// The loops mirror those in package loops line by line: same order of
// operations, same random sequence, one 8-byte store into every object.
//
//	loops.c            what slub.Cache serves there; which loop runs which kind
//	malloc_loops.c     what slub.Malloc serves, each thread for itself
//	malloc_handover.c  the same, objects going from thread to thread
//	handover.c         where they go through
//	team.c             threads and clocks
//	version.c          whose malloc it is
//	rival.go, rivals/  liburcu's and ck_epoch's loops, compiled when they run, and preloaded
//
// A failing malloc or pthread_create ends the process with a line on stderr:
// it is a child made for measuring, and its parent reports the death.
//
// This is the only package of the bench that uses cgo. Without cgo Run and
// Verify return ErrUnavailable.
package native

import "errors"

// ErrUnavailable reports a build without the C loops.
var ErrUnavailable = errors.New("native allocators need a build with cgo on Linux")
