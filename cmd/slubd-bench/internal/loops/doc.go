// Package loops runs the workloads in Go: slubd, the Go heap and sync.Pool.
// Threads are goroutines, and each times its own loop. Those are locked to OS threads that
// C has threads of their own for: mstress's short-lived ones, and readers that sleep.
//
// The loops of the three allocators are written out one by one instead of
// being generic over an allocator: a call through an interface or a
// dictionary costs as much as a fast allocation. They mirror the C loops of
// ../native line by line: same order of operations, same random sequence, one
// 8-byte store into every object.
//
// What a loop needs in every step is copied to locals first, as C's compilers keep it in
// registers, and written back at the end. Not so in the loops of slub.Malloc: Go's
// registers don't survive a call, so that each local is stored before it and loaded after
// it, where a field is loaded once, when it is needed.
//
//	heap.go        new: freeing means to drop the pointer; a ring keeps pairs alive
//	pool.go        sync.Pool: Get and Put
//	slubd.go       slub.Cache: Alloc and Free, bulk, prefill, FreeRCU
//	malloc.go      slub.Malloc and slub.Free, for the workloads that ask for sizes
//	heap_malloc.go new for the same
//	hands.go       what a thread of those holds; shared.go what threads hand over
//	sections.go    rcu's readers and updaters, without objects
//	maps.go        rcu-map, whatever the map
//	readers.go     who goes through quiescent states beside the others
//
// In the workloads that ask for sizes who frees an object reads its first word.
// The sum of all those is a run's checksum; tests compare it with C's.
//
// Open makes what an allocator needs for a case (caches, pools), Run measures
// once, Close gives it back. A Session is used by one goroutine at a time.
package loops
