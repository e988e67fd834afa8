package percpu

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Readers counts, for a domain of package rcu, the sections that goroutines are in. It has one row
// per CPU, with two indices to count under, like the kernel's SRCU (kernel/rcu/srcutree.c). Enter
// and Exit of a section may count on different CPUs, so only the sums over all rows mean anything.
//
// The rows lie in Go's heap and live as long as the Readers is referenced: no mapping can fail, and
// none has to be returned.
type Readers struct {
	enter enterOp
	exit  exitOp
	fence bool // Enter executes no memory barrier; see Fence

	// Enter counts the beginning of a section under the current index, and returns the index. Exit
	// counts its end under that index. Any goroutine may call them, on any CPU.
	Enter func() Index
	Exit  func(Index)
}

// An Index is one of the two indices that sections are counted under.
type Index uint64

// The indices, as offsets in a row in bytes.
const (
	even Index = 0
	odd  Index = 16
)

// enterOp and exitOp are what the func values Enter and Exit point to where they are sequences: see
// Pop.
type enterOp struct {
	code  uintptr
	index Index          // current index; atomic, written by Flip only
	rows  unsafe.Pointer // CPU 0's row
	slow  func() Index
}

type exitOp struct {
	code uintptr
	_    Index
	rows unsafe.Pointer
	slow func(Index)
}

// A readerRow holds the counts that one CPU's sections add to.
type readerRow struct {
	counts [2]readerCount
	_      [readerRowSize - 2*unsafe.Sizeof(readerCount{})]byte
}

// readerRowSize keeps rows two cache lines apart. The assembly scales by it.
const (
	readerRowSize  = 1 << readerRowShift
	readerRowShift = 7
)

var _ = [1]struct{}{}[unsafe.Sizeof(readerRow{})-readerRowSize|unsafe.Sizeof(readerCount{})-uintptr(odd)]

// readerCount counts the sections under one index. It takes centuries to wrap.
type readerCount struct{ enters, exits uint64 }

func (c *readerCount) entered() uint64 { return atomic.LoadUint64(&c.enters) }
func (c *readerCount) exited() uint64  { return atomic.LoadUint64(&c.exits) }

// NewReaders returns a Readers without open sections.
func NewReaders() *Readers { return newReaders(current) }

func newReaders(e engine) *Readers {
	r := new(Readers)
	rows := alignedRows(NumCPU() + 1)
	r.enter.rows, r.exit.rows = rows, rows
	if e.readers {
		r.bySequence()
	} else {
		r.byAtomics()
	}
	return r
}

// alignedRows returns n rows that start at a multiple of their size. The pointer keeps all of them
// alive.
func alignedRows(n int) unsafe.Pointer {
	raw := unsafe.Pointer(unsafe.SliceData(make([]readerRow, n+1)))
	return unsafe.Add(raw, mem.AlignUp(uintptr(raw), readerRowSize)-uintptr(raw))
}

// row returns a CPU's row. Row NumCPU() is for threads whose sequences have no CPU number; all
// additions to it are atomic.
func (r *Readers) row(cpu int) *readerRow {
	return (*readerRow)(unsafe.Add(r.enter.rows, cpu<<readerRowShift))
}

// at returns the counts of a row under an index.
func (row *readerRow) at(i Index) *readerCount {
	return (*readerCount)(unsafe.Add(unsafe.Pointer(row), i))
}

// byAtomics makes Enter and Exit atomic additions to the row of the CPU that they probably run on.
// As Go's atomics are sequentially consistent, they need no Fence.
func (r *Readers) byAtomics() {
	r.Enter = func() Index { return r.enterAtomically(hint()) }
	r.Exit = func(i Index) { atomic.AddUint64(&r.row(hint()).at(i).exits, 1) }
}

func (r *Readers) enterAtomically(cpu int) Index {
	i := r.Current()
	atomic.AddUint64(&r.row(cpu).at(i).enters, 1)
	return i
}

// Current returns the index that sections begin under.
func (r *Readers) Current() Index { return Index(atomic.LoadUint64((*uint64)(&r.enter.index))) }

// Other returns the other index.
func (i Index) Other() Index { return i ^ odd }

// Flip changes the current index. A section whose Enter has already loaded the index may still be
// counted under the old one, at any time later. One caller at a time.
func (r *Readers) Flip() {
	atomic.StoreUint64((*uint64)(&r.enter.index), uint64(r.Current().Other()))
}

// Fenced reports whether Fence makes every thread execute a memory barrier. Otherwise it does
// nothing.
func (r *Readers) Fenced() bool { return r.fence }

// Fence takes the place of a memory barrier in every Enter: after it, a section that is not yet
// counted has not loaded anything either, and will see everything stored before the Fence. Where
// Enter is a sequence, it makes a system call of one or two microseconds.
//
// refused is the kernel's error if it refuses the call. The Fence then stops all goroutines
// instead. If that is not possible either, done is false, and the Fence has had no effect.
func (r *Readers) Fence() (done bool, refused error) {
	if !r.fence {
		return true, nil
	}
	if refused = sys.Membarrier(); refused == nil {
		return true, nil
	}
	return stopTheWorldFence(refused) == nil, refused
}

// Open returns how many sections are open under an index: all whose Enter was counted before the
// call and whose Exit was not, and perhaps some that began or ended meanwhile. A negative number
// means that there have been more Exits than Enters.
//
// Exits are read before enters. The enter of a section comes before its exit, so if the exit is
// seen, the enter is seen, too, and no open section is missed. In the other order a section that
// begins and ends in between would make up for one that is still open.
func (r *Readers) Open(i Index) int64 {
	exited := r.sum(i, (*readerCount).exited)
	return int64(r.sum(i, (*readerCount).entered) - exited)
}

// Entered returns how many sections have ever begun.
func (r *Readers) Entered() uint64 {
	return r.sum(even, (*readerCount).entered) + r.sum(odd, (*readerCount).entered)
}

// sum adds up one count of all rows.
func (r *Readers) sum(i Index, count func(*readerCount) uint64) (n uint64) {
	for cpu := range NumCPU() + 1 {
		n += count(r.row(cpu).at(i))
	}
	return n
}

// selfTestReaders compares every result and every sum.
func selfTestReaders(r *Readers) bool {
	a := r.Enter()
	r.Flip()
	b, c := r.Enter(), r.Enter()
	opened := r.Open(even) == 1 && r.Open(odd) == 2
	r.Exit(b)
	r.Exit(a)
	exited := r.Open(even) == 0 && r.Open(odd) == 1
	r.Exit(c)
	runtime.KeepAlive(r)
	_, refused := r.Fence()
	return a == even && b == odd && c == odd && opened && exited && r.Open(odd) == 0 && r.Entered() == 3 && refused == nil
}
