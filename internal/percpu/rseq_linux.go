//go:build amd64 || arm64

package percpu

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/sys"
)

//go:noescape
func popStack(slots uintptr) unsafe.Pointer

//go:noescape
func pushStack(slots uintptr, p unsafe.Pointer, own owner.Word) bool

func lockStack(slots uintptr) int
func rseqCPU() int

// newSequences prepares the rseq engine: the thread area, the descriptors and membarrier.
func newSequences() (engine, error) {
	area, err := sys.RseqArea()
	if err != nil {
		return engine{}, err
	}
	if err := sys.MembarrierRegisterRseq(); err != nil {
		return engine{}, err
	}
	if kernelCPUs == 0 {
		return engine{}, errors.New("sched_getaffinity(2) doesn't tell how many CPUs the kernel can number")
	}
	if kernelCPUs > maxCPUs {
		return engine{}, fmt.Errorf("the kernel can number %d CPUs, per-CPU memory has rows for %d", kernelCPUs, maxCPUs)
	}
	rseqOffset, rseqOwner = area.Offset, area.Owner
	if err := installDescriptors(); err != nil {
		return engine{}, err
	}
	e := engine{
		name:       "rseq",
		lock:       lockRseq,
		lockNoWait: lockStack,
		fence:      restartCPU,
		cpu:        rseqCPU,
		cpuNow:     rseqCPUNow,
		initPop:    initPopStack,
		initFree:   initFreeStack,

		initPopBySize:   (*PopBySize).setSlowCode,
		initFreeByOwner: (*FreeByOwner).setSlowCode,

		initSliceBySize:      (*SliceBySize).setSlowCode,
		initFreeSliceByOwner: (*FreeSliceByOwner).setSlowCode,
	}
	cpu, err := register()
	if err != nil {
		return engine{}, err
	}
	if cpu < 0 || cpu >= NumCPU() {
		return engine{}, fmt.Errorf("struct rseq shows CPU %d of %d", cpu, NumCPU())
	}
	e.area = areaOf(area.Owner, sys.RseqSize())
	return e, nil
}

// withRegisters returns the rseq engine with operations that are called in Go's register ABI, as
// compiled code is. The arguments then don't pass through the stack, which halves the memory
// traffic of a pop and a push. The ABI is internal to Go. So a self-test decides whether it is
// used, and initPopStack is the alternative.
func withRegisters(e engine) engine {
	e.initPop = func(p *Pop) { p.code = codes().popRegister }
	e.initFree = func(f *Free) { f.code = codes().freeRegister }
	e.initPopBySize = func(p *PopBySize) { p.code = codes().popBySize }
	e.initFreeByOwner = func(f *FreeByOwner) { f.code = codes().freeByOwner }
	e.initSliceBySize = func(p *SliceBySize) { p.code = codes().sliceBySize }
	e.initFreeSliceByOwner = func(f *FreeSliceByOwner) { f.code = codes().freeSlice }
	e.initPopZero = func(p *PopZero) { p.code = codes().popZero }
	e.initFreeZero = func(f *FreeZero) { f.code = codes().freeZero }
	e.initFreeByOwnerZero = func(f *FreeByOwner) { atomic.StoreUintptr(&f.code, codes().freeZeroByOwner) }
	e.initPopByNode = func(p *PopByNode) { p.code = codes().popByNode }
	e.initPopMarked = func(p *PopMarked) { p.code = codes().popMarked }
	e.initFreeMarked = func(f *FreeMarked) { f.code = codes().freeMarked }
	e.initPopBySizeMarked = func(p *PopBySize) { atomic.StoreUintptr(&p.code, codes().popMarkedBySize) }
	e.initFreeByOwnerMarked = func(f *FreeByOwner) { atomic.StoreUintptr(&f.code, codes().freeMarkedByOwner) }
	e.readers = sequencesForReaders()
	return e
}

// initPopStack makes p call the sequence through Go's stable ABI.
func initPopStack(p *Pop) {
	slow := p.slow
	p.SetSlowOnly(func() (unsafe.Pointer, error) {
		obj := popStack(p.slots)
		runtime.KeepAlive(p) // see recycle.go
		if obj != nil {
			return obj, nil
		}
		return slow()
	})
}

func initFreeStack(f *Free) {
	slow := f.slow
	f.setSlowCode()
	f.slow = func(p unsafe.Pointer) {
		done := pushStack(f.slots, p, f.Owner(p))
		runtime.KeepAlive(f) // see recycle.go
		if !done {
			slow(p)
		}
	}
}

// lockRseq is the engine's lock operation. Where libc doesn't register threads, this registers a
// thread on its first slow path.
func lockRseq(slots uintptr) int {
	cpu := lockStack(slots)
	if cpu < 0 && rseqCPU() < 0 && registeredCPU() >= 0 {
		cpu = lockStack(slots)
	}
	return cpu
}

// rseqCPUNow is rseqCPU, which a thread that isn't registered has to ask the kernel for.
func rseqCPUNow() int {
	if cpu := rseqCPU(); cpu >= 0 {
		return cpu
	}
	return runningOn()
}

// rseqOwner says whether libc or package sys registers threads. Written with rseqOffset.
var rseqOwner string

// registeredCPU registers the calling thread if needed and returns its CPU, or a negative number if
// the thread can't be registered. All its operations take the slow path then. The kernel is asked
// once for each thread: it may refuse one thread and not another, where a filter of system calls
// holds for some threads (seccomp(2)), or another library has registered some.
func registeredCPU() int {
	cpu, _ := register()
	return cpu
}

// register is registeredCPU with the error of sys.RegisterRseq, if that was asked.
func register() (cpu int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cpu := rseqCPU(); cpu != sys.RseqUnregistered || rseqOwner == sys.OwnerLibc {
		return cpu, nil
	}
	err = sys.RegisterRseq()
	return rseqCPU(), err
}

// restartCPU has the kernel restart a sequence that is running on cpu. An offline CPU runs none,
// and the kernel does nothing. If the kernel refuses, though the process registered at start-up,
// all goroutines are stopped instead.
func restartCPU(cpu int) {
	err := sys.MembarrierRseq(cpu)
	if err != nil {
		err = stopTheWorldFence(err)
	}
	if err != nil {
		panic("slubd: " + err.Error()) // the lock would not exclude the CPU's sequences
	}
}
