//go:build !race

package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

// sequencesForReaders reports whether Readers can do without memory barriers: the kernel
// must execute them for all threads when Fence asks.
func sequencesForReaders() bool { return sys.MembarrierRegister() == nil }

// bySequence makes Enter and Exit the assembly, called in Go's register ABI.
func (r *Readers) bySequence() {
	enter, exit := &r.enter, &r.exit
	enter.slow = func() Index {
		if cpu := registeredCPU(); cpu >= 0 && cpu < NumCPU() {
			return r.Enter()
		}
		return r.enterAtomically(NumCPU())
	}
	exit.slow = func(i Index) {
		if cpu := registeredCPU(); cpu >= 0 && cpu < NumCPU() {
			r.Exit(i)
			return
		}
		atomic.AddUint64(&r.row(NumCPU()).at(i).exits, 1)
	}
	enter.code, exit.code = codes().enterReaders, codes().exitReaders
	r.Enter, r.Exit = *(*func() Index)(unsafe.Pointer(&enter)), *(*func(Index))(unsafe.Pointer(&exit))
	r.fence = true
}
