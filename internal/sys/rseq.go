package sys

// Rseq says where every thread's struct rseq is and who registers it; the
// package comment has the whole story.
type Rseq struct {
	Offset uintptr // from the thread pointer to the area, wrapping when below it
	Size   uint32  // bytes of the area that the kernel was told of, at least 20
	Owner  string  // OwnerLibc or OwnerSlubd
}

// The owners of a thread's rseq area.
const (
	OwnerLibc  = "libc"  // registered before the thread runs any code of ours
	OwnerSlubd = "slubd" // cpu_id is -1 until the thread calls RegisterRseq
)
