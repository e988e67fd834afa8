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
	CallReplace
	CallProtect
	CallDumpCore
	CallSetName
	CallGuard
	CallGuardInstall
	CallGuardRemove
	CallUnmap
	CallDiscard
	CallPopulate
	CallAdviseHuge
	CallLock
	CallUnlock
	CallReadRSS
	CallCgroupLimit
	CallReadPressure
	CallOpenPressure
	CallWaitPressure
	CallRAM
	CallMbind
	CallMempolicy
	CallNodesOf
	CallMovePages
	CallReadNumaMaps
	CallMemsAllowed
	CallAffinity
	CallSetAffinity
	CallCPU
	CallMembarrierRegister
	CallMembarrier
	CallMembarrierRegisterRseq
	CallMembarrierRseq
	CallRseqArea
	CallRegisterRseq
	CallWatchGuards
	CallSleepAndStore
	numCalls
)

var callNames = [numCalls]string{
	CallReserve:                "mmap",
	CallReplace:                "mmap(MAP_FIXED)",
	CallProtect:                "mprotect",
	CallDumpCore:               "madvise(MADV_DO[NT]DUMP)",
	CallSetName:                "prctl(PR_SET_VMA_ANON_NAME)",
	CallGuard:                  "mmap(PROT_NONE)",
	CallGuardInstall:           "madvise(MADV_GUARD_INSTALL)",
	CallGuardRemove:            "madvise(MADV_GUARD_REMOVE)",
	CallUnmap:                  "munmap",
	CallDiscard:                "madvise(MADV_DONTNEED)",
	CallPopulate:               "madvise(MADV_POPULATE_WRITE)",
	CallAdviseHuge:             "madvise(MADV_[NO]HUGEPAGE)",
	CallLock:                   "mlock",
	CallUnlock:                 "munlock",
	CallReadRSS:                "read /proc/self",
	CallCgroupLimit:            "read /sys/fs/cgroup",
	CallReadPressure:           "read memory.events",
	CallOpenPressure:           "open memory.pressure",
	CallWaitPressure:           "epoll_wait",
	CallRAM:                    "sysinfo",
	CallMbind:                  "mbind",
	CallMempolicy:              "get_mempolicy",
	CallNodesOf:                "move_pages",
	CallMovePages:              "move_pages(MPOL_MF_MOVE)",
	CallReadNumaMaps:           "read /proc/self/numa_maps",
	CallMemsAllowed:            "read /proc/self/status",
	CallAffinity:               "sched_getaffinity",
	CallSetAffinity:            "sched_setaffinity",
	CallCPU:                    "getcpu",
	CallMembarrierRegister:     "membarrier(REGISTER_PRIVATE_EXPEDITED)",
	CallMembarrier:             "membarrier(PRIVATE_EXPEDITED)",
	CallMembarrierRegisterRseq: "membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ)",
	CallMembarrierRseq:         "membarrier(PRIVATE_EXPEDITED_RSEQ)",
	CallRseqArea:               "find struct rseq",
	CallRegisterRseq:           "rseq",
	CallWatchGuards:            "sigaction",
	CallSleepAndStore:          "timerfd",
}

// String names the system call, as errors do.
func (c Call) String() string {
	if c < numCalls {
		return callNames[c]
	}
	return fmt.Sprintf("Call(%d)", uint8(c))
}

// fault is a failure that a test has armed. Only left changes.
type fault struct {
	err     error
	onwards bool         // whether calls after the n-th fail as well
	left    atomic.Int64 // number of calls up to and including the n-th
}

// faults has the armed failure of each call, nil for none. Outside tests all are nil.
var faults [numCalls]atomic.Pointer[fault]

// FailNth makes the n-th call of c from now on (1: the next) fail with err, without reaching the
// kernel. n = 0 fails every call, a negative n the -n-th and all that follow. The calls of all
// goroutines count. restore arms again what was armed before. For tests only.
func FailNth(c Call, n int, err error) (restore func()) {
	f := &fault{err: err, onwards: n <= 0}
	f.left.Store(int64(max(n, -n, 1)))
	old := faults[c].Swap(f)
	return func() { faults[c].Store(old) }
}

// injected returns the error that a test wants this call to fail with, or nil.
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

// InjectedErr consumes one injected failure of c and returns its error, or nil. Call it where a
// cached result replaces the system call, so that tests with FailNth reach that path too.
func (c Call) InjectedErr() error { return c.injected() }
