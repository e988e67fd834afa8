package sys

// Rseq says where every thread's struct rseq is, and whether libc or this package registers it. The
// package comment says more.
type Rseq struct {
	Offset uintptr // from the thread pointer to the area; wraps if the area is below
	Size   uint32  // bytes of the area that the kernel knows of, at least 20
	Owner  string  // OwnerLibc or OwnerSlubd
}

// The owners of a thread's rseq area.
const (
	OwnerLibc  = "libc"  // registered before the thread runs any Go code
	OwnerSlubd = "slubd" // cpu_id is -1 until the thread calls RegisterRseq
)
