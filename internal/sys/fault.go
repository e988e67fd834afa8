package sys

import (
	"fmt"
	"os"
	"sync/atomic"
)

// Call names one function of this package for [FailNth].
type Call uint8

// The calls in the order of their files.
const (
	CallReserve Call = iota
	CallGuard
	CallUnmap
	CallDiscard
	CallPopulate
	CallAdviseHuge
	CallLock
	CallUnlock
	CallReadRSS
	CallCgroupLimit
	CallRAM
	CallMbind
	CallMempolicy
	CallNodesOf
	CallAffinity
	CallSetAffinity
	CallCPU
	CallMembarrierQuery
	CallMembarrierRegister
	CallMembarrier
	CallMembarrierRegisterRseq
	CallMembarrierRseq
	CallRseqArea
	CallRegisterRseq
	numCalls
)

var callNames = [numCalls]string{
	CallReserve:                "mmap",
	CallGuard:                  "mmap(PROT_NONE)",
	CallUnmap:                  "munmap",
	CallDiscard:                "madvise(MADV_DONTNEED)",
	CallPopulate:               "madvise(MADV_POPULATE_WRITE)",
	CallAdviseHuge:             "madvise(MADV_[NO]HUGEPAGE)",
	CallLock:                   "mlock",
	CallUnlock:                 "munlock",
	CallReadRSS:                "read /proc/self",
	CallCgroupLimit:            "read /sys/fs/cgroup",
	CallRAM:                    "sysinfo",
	CallMbind:                  "mbind",
	CallMempolicy:              "get_mempolicy",
	CallNodesOf:                "move_pages",
	CallAffinity:               "sched_getaffinity",
	CallSetAffinity:            "sched_setaffinity",
	CallCPU:                    "getcpu",
	CallMembarrierQuery:        "membarrier(QUERY)",
	CallMembarrierRegister:     "membarrier(REGISTER_PRIVATE_EXPEDITED)",
	CallMembarrier:             "membarrier(PRIVATE_EXPEDITED)",
	CallMembarrierRegisterRseq: "membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ)",
	CallMembarrierRseq:         "membarrier(PRIVATE_EXPEDITED_RSEQ)",
	CallRseqArea:               "find struct rseq",
	CallRegisterRseq:           "rseq",
}

// String names the system call, as errors do.
func (c Call) String() string {
	if c < numCalls {
		return callNames[c]
	}
	return fmt.Sprintf("Call(%d)", uint8(c))
}

// fault is one armed failure. Only left changes.
type fault struct {
	err     error
	onwards bool         // calls after the n-th fail as well
	left    atomic.Int64 // calls to come up to and including the n-th
}

// faults holds the armed failure of each call; nil, as ever outside tests,
// lets it through.
var faults [numCalls]atomic.Pointer[fault]

// FailNth makes the n-th call of c from now fail with err (1: the next),
// without reaching the kernel. n = 0 fails every call, a negative n the -n-th
// and all that follow. restore brings back what was armed before. Any
// goroutine's calls count. For tests only.
func FailNth(c Call, n int, err error) (restore func()) {
	f := &fault{err: err, onwards: n <= 0}
	f.left.Store(int64(max(n, -n, 1)))
	old := faults[c].Swap(f)
	return func() { faults[c].Store(old) }
}

// injected returns the error that a test wants this call to fail with.
func (c Call) injected() error {
	f := faults[c].Load()
	if f == nil {
		return nil
	}
	if left := f.left.Add(-1); left > 0 || left < 0 && !f.onwards {
		return nil
	}
	return c.wrap(f.err)
}

// wrap names the call in a non-nil error.
func (c Call) wrap(err error) error { return os.NewSyscallError(c.String(), err) }

// Again returns the error that c fails with in a test, for who has at hand what c would
// get, and takes that instead: tests needn't know.
func (c Call) Again() error { return c.injected() }
