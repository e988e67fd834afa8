package sys

// Rseq says where every thread's struct rseq is, and whether libc or this package registers it. The
// package comment says more.
type Rseq struct {
	Offset uintptr // from the thread pointer to the area; wraps if the area is below
	Owner  string  // OwnerLibc or OwnerSlubd
}

// The owners of a thread's rseq area.
const (
	OwnerLibc  = "libc"  // registered before the thread runs any Go code
	OwnerSlubd = "slubd" // cpu_id is RseqUnregistered until the thread calls RegisterRseq
)

// What an area's cpu_id says instead of a CPU's number (<linux/rseq.h>).
const (
	RseqUnregistered = -1 // the thread has not registered
	RseqRefused      = -2 // the kernel has refused to register the thread
)

// RseqOriginalSize is the length of struct rseq that every kernel accepts, in bytes. Since Linux
// 7.1 the kernel treats longer areas differently: see the package comment.
const RseqOriginalSize = 32
