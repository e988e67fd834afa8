package percpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

func TestReadersCount(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		r := NewReaders()
		if !selfTestReaders(r) {
			t.Error("the self-test fails")
		}
		r.Exit(r.Current())
		if n := r.Open(r.Current()); n != -1 {
			t.Errorf("%d sections are open after a surplus Exit", n)
		}
	})
}

func TestReaderRowsAreApart(t *testing.T) {
	for range 20 {
		if rows := uintptr(alignedRows(3)); rows%readerRowSize != 0 {
			t.Errorf("rows start at %#x", rows)
		}
	}
	if unsafe.Sizeof(readerRow{}) < 128 {
		t.Error("CPUs share a pair of cache lines")
	}
}

// TestReadersWithoutMembarrier: if the kernel has no membarrier, Enter must be a barrier itself.
func TestReadersWithoutMembarrier(t *testing.T) {
	defer sys.FailNth(sys.CallMembarrierRegister, 0, syscall.EINVAL)()
	e := withRegisters(newTrylock())
	r := newReaders(e)
	if e.readers || r.fence || !selfTestReaders(r) {
		t.Error("Enter is a sequence, and no fence makes it visible")
	}
}

// TestReadersStress has goroutines enter and exit while they migrate, are preempted and
// interrupted by signals, and while the index flips. No section may be lost or counted twice.
func TestReadersStress(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	eachEngine(t, func(t *testing.T) {
		r := NewReaders()
		const goroutines = 8
		each := testutil.Stress(t, 4_000_000) / goroutines
		var over atomic.Bool
		var flips, wg sync.WaitGroup
		stop := make(chan struct{})
		flips.Go(func() { signals(stop) })
		flips.Go(func() { collections(stop) })
		flips.Go(func() {
			for !over.Load() {
				r.Flip()
				r.Fence()
				for _, i := range []Index{even, odd} {
					if n := r.Open(i); n < 0 || n > int64(goroutines*each) {
						t.Errorf("%d sections open", n)
					}
				}
				runtime.Gosched()
			}
		})
		for g := range goroutines {
			wg.Go(func() {
				for n := range each {
					i := r.Enter()
					if n%64 == g {
						runtime.Gosched() // may exit on another CPU
					}
					r.Exit(i)
				}
			})
		}
		wg.Wait()
		over.Store(true)
		close(stop)
		flips.Wait()
		if r.Open(even) != 0 || r.Open(odd) != 0 || r.Entered() != uint64(goroutines*each) {
			t.Errorf("%d and %d sections left open of %d, want 0 of %d", r.Open(even), r.Open(odd), r.Entered(), goroutines*each)
		}
	})
}

func BenchmarkReaders(b *testing.B) {
	b.Run("current", func(b *testing.B) { benchReaders(b, NewReaders()) })
	b.Run("atomics", func(b *testing.B) { benchReaders(b, newReaders(newTrylock())) })
}

func benchReaders(b *testing.B, r *Readers) {
	for b.Loop() {
		r.Exit(r.Enter())
	}
}
