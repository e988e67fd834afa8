package percpu

import (
	"sync"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Arrays of stacks are never unmapped. Whoever takes an array from a stack has made sure
// that no sequence stores to it any more: one that was about to is restarted. But that one
// may be in the kernel at that moment, which is about to put a page in the array's place,
// and finds out that it is to be restarted only on its way back. If the mapping is gone by
// then the kernel sends SIGSEGV first. On a mapping that stays it gets its page, and starts
// anew: nothing is written, even if the memory is another stack's by now.
//
// So memory that is given up goes back to the kernel, and its addresses to the next who
// wants as many.
var spareArrays = struct {
	mu sync.Mutex
	of map[uintptr][]uintptr // by size in bytes
}{of: make(map[uintptr][]uintptr)}

// ReserveArrays returns at least n bytes of zeroed memory for arrays. The error is sys.Reserve's.
// Any goroutine may call it.
func ReserveArrays(n uintptr) (addr uintptr, err error) {
	n = mem.AlignUp(n, mem.PageSize)
	spareArrays.mu.Lock()
	defer spareArrays.mu.Unlock()
	if s := spareArrays.of[n]; len(s) > 0 {
		if err := sys.CallReserve.InjectedErr(); err != nil {
			return 0, err
		}
		spareArrays.of[n] = s[:len(s)-1]
		return s[len(s)-1], nil
	}
	addr, err = sys.Reserve(n)
	if err == nil {
		_ = sys.SetName(addr, n, "slubd: sheaves") // not all kernels have names
	}
	return addr, err
}

// ReturnArrays takes back the memory that ReserveArrays returned for n. No stack uses it any more.
func ReturnArrays(addr, n uintptr) {
	n = mem.AlignUp(n, mem.PageSize)
	if sys.Discard(addr, n) != nil {
		mem.Zero(addr, n) // the kernel refuses, for example if all memory is locked
	}
	spareArrays.mu.Lock()
	defer spareArrays.mu.Unlock()
	spareArrays.of[n] = append(spareArrays.of[n], addr)
}
