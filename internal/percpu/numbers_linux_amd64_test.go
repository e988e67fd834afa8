package percpu

import (
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// threadPointer returns the calling thread's base of thread-local storage.
func threadPointer(t *testing.T) (fs uintptr) {
	t.Helper()
	const archPrctl, getFS = 158, 0x1003 // <asm/unistd_64.h>, <asm/prctl.h>
	if _, _, e := syscall.RawSyscall(archPrctl, getFS, uintptr(unsafe.Pointer(&fs)), 0); e != 0 {
		t.Fatal(e)
	}
	return fs
}

// showNumbers makes the sequences of the calling thread, which the caller has locked, read their
// CPU's number from a word that the test writes. No other thread may run sequences.
func showNumbers(t *testing.T) (shown *rseq) {
	t.Helper()
	shown = mem.At[rseq](offHeap(t, mem.PageSize))
	before := rseqOffset
	rseqOffset = uintptr(unsafe.Pointer(shown)) - threadPointer(t)
	t.Cleanup(func() { rseqOffset = before })
	return shown
}

// TestNumbersThatWereNotCounted: a kernel may show the number of a CPU that there wasn't when the
// process started, for example after it was restored on a larger machine. All sequences then take
// their slow path. None reaches memory that isn't its own.
func TestNumbersThatWereNotCounted(t *testing.T) {
	e, err := newRseq()
	needRseq(t, err)
	e = withRegisters(e)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const own = 7
	adjacent, err := NewAdjacentSlots(2)
	if err != nil {
		t.Fatal(err)
	}
	slots := adjacent[0]
	var slow int
	pop := &Pop{slots: slots.base, slow: func() (unsafe.Pointer, error) { slow++; return nil, nil }}
	free := &Free{Filter: filter(slots, Main, own), slow: func(unsafe.Pointer) { slow++ }}
	bySize := &PopBySize{slow: func(int) (unsafe.Pointer, error) { slow++; return nil, nil }}
	byOwner := &FreeByOwner{slow: func(unsafe.Pointer) { slow++ }}
	e.initPop(pop)
	e.initFree(free)
	e.initPopBySize(bySize)
	e.initFreeByOwner(byOwner)
	table := make([]Slots, MaxFine/FineStep)
	for i := range table {
		table[i] = slots
	}
	bySize.Fill(Main, table, table[:MaxFine/CoarseStep])
	byOwner.Fill(own>>NodeBits, []Filter{filter(slots, Main, own)})
	slice := &SliceBySize{sliceSlow: func(int) ([]byte, error) { slow++; return nil, nil }}
	freeSlice := &FreeSliceByOwner{sliceSlow: func([]byte) { slow++ }}
	e.initSliceBySize(slice)
	e.initFreeSliceByOwner(freeSlice)
	slice.Fill(bySize, sliceRooms)
	freeSlice.Fill(own>>NodeBits, []Filter{filter(slots, Main, own)})

	var open uintptr
	nodes := []NodeGate{NewNodeGate(own, unsafe.Pointer(&open))}
	byNode := &PopByNode{}
	byNode.init(slots.base, nodes, filter(slots, Main, own), func(int) (unsafe.Pointer, error) { slow++; return nil, nil })
	popZero := &PopZero{Pop: *pop, zero: newZeroRange(0, 8)}
	freeZero := &FreeZero{Free: *free, own: own &^ (1<<NodeBits - 1), zero: newZeroRange(0, 8)}
	freeZero.base = offHeap(t, mem.PageSize)
	e.initPopByNode(byNode)
	e.initPopZero(popZero)
	e.initFreeZero(freeZero)
	readers := newReaders(e)

	shown := showNumbers(t)
	for _, n := range []int{NumCPU(), kernelCPUs - 1, kernelCPUs, 2 * kernelCPUs, maxCPUs - 1} {
		if n < NumCPU() {
			continue
		}
		shown.cpu, slow = uint32(n), 0
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("CPU number %d reaches foreign memory: %v", n, r)
				}
			}()
			pop.Func()()
			free.Func()(object(1))
			bySize.Func()(8)
			byOwner.Func()(object(1))
			slice.Func()(8)
			freeSlice.Func()(unsafe.Slice((*byte)(object(1)), 8))
			byNode.Func()(0)
			popZero.Func()()
			freeZero.Func()(mem.Ptr(freeZero.base))
			section := readers.Enter()
			if open := readers.Open(section); open != 1 {
				t.Errorf("CPU number %d: %d sections are open, want 1", n, open)
			}
			readers.Exit(section)
			if popStack(slots.base) != nil || pushStack(slots.base, object(1), own) {
				t.Errorf("CPU number %d has a stack", n)
			}
			if cpu := lockStack(slots.base); cpu != -1 {
				t.Errorf("the lock of CPU number %d was taken as %d", n, cpu)
			}
		}()
		if slow != 9 {
			t.Errorf("CPU number %d: %d of 9 operations took the slow path", n, slow)
		}
		for _, cell := range adjacent {
			for _, k := range []Kind{Main, RCU} {
				if writable(&cell.Stack(n, k).head) {
					t.Errorf("CPU number %d: its row is writable", n)
				}
			}
		}
	}
}

// TestMoreNumbersThanRows: sequences are not used under a kernel whose numbers lead beyond the
// rows.
func TestMoreNumbersThanRows(t *testing.T) {
	before := kernelCPUs
	defer func() { kernelCPUs = before }()
	_, err := newRseq()
	needRseq(t, err)
	kernelCPUs = maxCPUs + 64
	if _, err := newRseq(); err == nil || !strings.Contains(err.Error(), "rows") {
		t.Errorf("a kernel of %d CPUs: %v", kernelCPUs, err)
	}
}

// TestAreaUnderAddressLimit: where addresses are limited, an area has rows for the numbers of this
// kernel, and takes no more addresses than these need.
func TestAreaUnderAddressLimit(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	if all := rows(); all != maxCPUs+front() {
		t.Errorf("%d rows without a limit, want %d", all, maxCPUs+front())
	}
	limit := uint64(1<<63 - 1) // any but infinity
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	if all := rows(); all != max(NumCPU(), kernelCPUs)+front() {
		t.Errorf("%d rows under a limit, want %d", all, max(NumCPU(), kernelCPUs)+front())
	}
	slots := Slots{cells(t, 1)[0]}
	for cpu := range max(NumCPU(), kernelCPUs) {
		if *slots.Stack(cpu, Main) != (Stack{}) {
			t.Errorf("CPU %d's stack is not zeroed", cpu)
		}
	}
}
