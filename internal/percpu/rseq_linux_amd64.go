package percpu

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

//go:noescape
func popStack(slots uintptr) unsafe.Pointer

//go:noescape
func pushStack(slots uintptr, p unsafe.Pointer, own uint32) bool

func lockStack(slots uintptr) int
func rseqCPU() int

// newRseq prepares the rseq engine: thread area, descriptors, membarrier.
func newRseq() (engine, error) {
	area, err := sys.RseqArea()
	if err != nil {
		return engine{}, err
	}
	if err := sys.MembarrierRegisterRseq(); err != nil {
		return engine{}, fmt.Errorf("membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ): %w", err)
	}
	if kernelCPUs == 0 {
		return engine{}, errors.New("sched_getaffinity(2) doesn't tell how many CPUs the kernel can number")
	}
	rseqOffset = area.Offset
	if err := installDescriptors(); err != nil {
		return engine{}, err
	}
	e := engine{
		name:       "rseq",
		lock:       lockRseq,
		lockNoWait: lockStack,
		fence:      restartCPU,
		cpu:        rseqCPU,
		initPop:    initPopStack,
		initFree:   initFreeStack,

		initPopBySize:   (*PopBySize).pass,
		initFreeByOwner: (*FreeByOwner).pass,
	}
	if cpu := registeredCPU(); cpu < 0 || cpu >= NumCPU() {
		return engine{}, fmt.Errorf("struct rseq shows CPU %d of %d", cpu, NumCPU())
	}
	return e, nil
}

// withRegisters is the rseq engine with operations that are called in Go's
// register ABI, as if compiled: the arguments need not pass through the stack,
// which halves a pair's memory traffic. The ABI is internal to Go, hence the
// self-test that decides whether it is used, and initPopStack beside it.
func withRegisters(e engine) engine {
	e.initPop = func(p *Pop) { p.code = codes().popRegister }
	e.initFree = func(f *Free) { f.code = codes().freeRegister }
	e.initPopBySize = func(p *PopBySize) { p.code = codes().popBySize }
	e.initFreeByOwner = func(f *FreeByOwner) { f.code = codes().freeByOwner }
	e.readers = sequencesForReaders()
	return e
}

// initPopStack calls the sequence through Go's stable ABI.
func initPopStack(p *Pop) {
	slow := p.slow
	p.Pass(func() (unsafe.Pointer, error) {
		if obj := popStack(p.slots); obj != nil {
			return obj, nil
		}
		return slow()
	})
}

func initFreeStack(f *Free) {
	slow := f.slow
	f.pass()
	f.slow = func(p unsafe.Pointer) {
		if !pushStack(f.slots, p, f.Owner(p)) {
			slow(p)
		}
	}
}

// lockRseq is the engine's lock operation. Where libc leaves registration to us,
// a thread's first slow path is the place that registers it.
func lockRseq(slots uintptr) int {
	cpu := lockStack(slots)
	if cpu < 0 && rseqCPU() < 0 && registeredCPU() >= 0 {
		cpu = lockStack(slots)
	}
	return cpu
}

// refused is set once the kernel has refused to register a thread, so that its
// operations don't ask again every time.
var refused atomic.Bool

// registeredCPU registers the calling thread if need be and returns its CPU, or
// a negative number when it can't be. Its operations then all take the slow path.
func registeredCPU() int {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if rseqCPU() < 0 && !refused.Load() {
		// Anything but a kernel or a sandbox that won't have it may pass.
		if err := sys.RegisterRseq(); errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) {
			refused.Store(true)
		}
	}
	return rseqCPU()
}

// restartCPU has the kernel restart whatever sequence is running on cpu. An
// offline CPU runs none, and the kernel says so by doing nothing. Where it refuses, though
// the process registered at start-up, all goroutines are stopped instead.
func restartCPU(cpu int) {
	err := sys.MembarrierRseq(cpu)
	if err != nil {
		err = instead(err)
	}
	if err != nil {
		panic("slubd: " + err.Error()) // the lock would exclude nobody
	}
}
