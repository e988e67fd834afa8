// Package loops runs the workloads in Go: on slubd, the Go heap, sync.Pool, and the maps that
// rcu-map and gc-map compare. Threads are goroutines, and each times its own loop. A goroutine is
// locked to an OS thread only where C has a thread of its own: mstress's short-lived threads, and
// readers that sleep.
//
//	Open -> target (caches, pools, maps) -> Session.Run: threads, clocks -> workload.Sample
//	Build, Population.Collect, Resident: whole heaps, one to a process
//
// The loops mirror the C loops of ../native line by line: the same order of operations, the same
// random sequence, one 8-byte store into every object. They are not generic over an allocator: a
// call through an interface or a dictionary costs as much as a fast allocation. Instead gen.go
// writes them for each allocator from loops.go.tmpl, timed.go.tmpl and trace.go.tmpl. Loops that
// one allocator has alone are written by hand beside its thread type.
//
// In workloads that ask for sizes, the thread that frees an object reads its first word. The sum
// of these words is the checksum of a run; tests compare it with C's.
//
// In the loops with many sizes, a thread's state is used in its fields instead of in local
// variables. No register of Go survives a call, so a local variable is stored before each call
// and loaded after it, while a field is loaded once, when it is needed.
//
// A Session is used by one goroutine at a time.
package loops

//go:generate go run gen.go .
