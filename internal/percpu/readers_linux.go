//go:build (amd64 || arm64) && !race

package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

// sequencesForReaders reports whether Enter needs no memory barrier: the kernel must be able to
// execute one on all threads for Fence.
func sequencesForReaders() bool { return sys.MembarrierRegister() == nil }

// bySequence makes Enter and Exit the assembly's sequences, called in Go's register ABI.
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
