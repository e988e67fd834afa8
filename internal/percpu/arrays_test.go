package percpu

import (
	"errors"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// TestArraysStay: a sequence that uses an array after its return finds zeroed memory there. So
// does the next owner, which gets the same addresses.
func TestArraysStay(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const size = 5*mem.PageSize - 8 // no other test uses this size
	for _, refused := range []error{nil, syscall.EINVAL} {
		addr, err := ReserveArrays(size)
		if err != nil {
			t.Fatal(err)
		}
		word := mem.At[uint64](addr + 4*mem.PageSize)
		*word = 42
		restore := func() {}
		if refused != nil {
			restore = sys.FailNth(sys.CallDiscard, 1, refused)
		}
		ReturnArrays(addr, size)
		restore()
		if *word != 0 { // panics if it is unmapped
			t.Errorf("reads %d", *word)
		}
		restore = sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
		if _, err := ReserveArrays(size); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("without memory: %v", err)
		}
		restore()
		again, err := ReserveArrays(size)
		if err != nil || again != addr {
			t.Errorf("%#x and %v, want %#x again", again, err, addr)
		}
		ReturnArrays(again, size)
	}
}
