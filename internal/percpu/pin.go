package percpu

import (
	"sync/atomic"
	_ "unsafe" // for go:linkname

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// cpuOfP has one more than the number of the CPU where each P was last found, or 0. It takes the
// place of an instruction that reads the CPU's number. A P is on another CPU when the kernel has
// moved its thread, or Go has given it to another thread. Until a slow path notices that, its
// operations use the stacks of the CPU that it came from, as a hint allows.
var cpuOfP [maxPs]placeOfP

const maxPs = 1024 // those beyond share the words of others

type placeOfP struct {
	cpu   atomic.Int32
	looks atomic.Uint32 // see lockHinted
	_     [mem.CacheLine - 8]byte
}

// hintP returns the CPU where the caller's P was last found. Before that it is a number for the P:
// different Ps have different numbers if GOMAXPROCS is not above the number of CPUs.
func hintP() int {
	p := procPin()
	procUnpin()
	if cpu := int(cpuOfP[p%maxPs].cpu.Load()) - 1; cpu >= 0 {
		return cpu
	}
	return p % NumCPU()
}

// findP asks the kernel for the CPU that the caller runs on, notes it for the caller's P and
// returns it. It makes a system call. If the kernel doesn't tell, it is hintP.
func findP() int {
	if noGetcpu.Load() {
		return hintP()
	}
	p := procPin()
	at := &cpuOfP[p%maxPs].cpu
	cpu, _, err := sys.CPU() // doesn't block
	if err == nil && cpu < NumCPU() && at.Load() != int32(cpu+1) {
		at.Store(int32(cpu + 1))
	}
	procUnpin()
	if err != nil {
		noGetcpu.Store(true)
	}
	return hintP()
}

// noGetcpu is set once the kernel has refused getcpu(2), or there is none.
var noGetcpu atomic.Bool

// procPin keeps the goroutine on its P, without preemption, until procUnpin, and returns the P's
// number. The goroutine must not block in between. The runtime keeps both functions accessible for
// packages that depend on them (see "hall of shame" in runtime/proc.go).
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
