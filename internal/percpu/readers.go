package percpu

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Readers counts, for a domain of package rcu, the sections that goroutines are in: one row
// per CPU, with two indices to count under, as the kernel's SRCU has (kernel/rcu/srcutree.c).
// A section is counted where it is entered and where it is left, which may be different
// CPUs, so only the sums over all rows say anything.
//
// The rows lie in Go's heap and live as long as somebody refers to the Readers: no
// mapping can fail, and none has to be given back.
type Readers struct {
	enter enterOp
	exit  exitOp
	fence bool // Enter executes no memory barrier; see Fence

	// Enter counts a section that begins under the current index, which it returns;
	// Exit counts its end under that index. Any goroutine, any CPU.
	Enter func() Index
	Exit  func(Index)
}

// An Index is one of the two that sections are counted under.
type Index uint64

// The indices: offsets in a row in bytes.
const (
	even Index = 0
	odd  Index = 16
)

// enterOp and exitOp are what Enter and Exit point to where they are sequences: see Pop.
type enterOp struct {
	code  uintptr
	index Index          // current; atomic, written by Flip only
	rows  unsafe.Pointer // CPU 0's row
	slow  func() Index
}

type exitOp struct {
	code uintptr
	_    Index
	rows unsafe.Pointer
	slow func(Index)
}

// A readerRow is what one CPU's sections add to.
type readerRow struct {
	counts [2]readerCount
	_      [readerRowSize - 2*unsafe.Sizeof(readerCount{})]byte
}

// readerRowSize keeps rows two cache lines apart; the assembly scales by it.
const (
	readerRowSize  = 1 << readerRowShift
	readerRowShift = 7
)

var _ = [1]struct{}{}[unsafe.Sizeof(readerRow{})-readerRowSize|unsafe.Sizeof(readerCount{})-uintptr(odd)]

// readerCount counts the sections under one index. It takes centuries to wrap.
type readerCount struct{ enters, exits uint64 }

func (c *readerCount) entered() uint64 { return atomic.LoadUint64(&c.enters) }
func (c *readerCount) exited() uint64  { return atomic.LoadUint64(&c.exits) }

// NewReaders returns Readers that nobody is in.
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

// alignedRows returns n rows that start at a multiple of their size. The pointer keeps
// all of them alive.
func alignedRows(n int) unsafe.Pointer {
	raw := unsafe.Pointer(unsafe.SliceData(make([]readerRow, n+1)))
	return unsafe.Add(raw, mem.AlignUp(uintptr(raw), readerRowSize)-uintptr(raw))
}

// row returns a CPU's row. That of number NumCPU() is for threads that have no CPU as far
// as sequences go, and is only ever added to atomically.
func (r *Readers) row(cpu int) *readerRow {
	return (*readerRow)(unsafe.Add(r.enter.rows, cpu<<readerRowShift))
}

// at is where a row counts under an index.
func (row *readerRow) at(i Index) *readerCount {
	return (*readerCount)(unsafe.Add(unsafe.Pointer(row), i))
}

// byAtomics makes Enter and Exit additions on the row of the CPU that they probably run
// on. As Go's atomics are sequentially consistent they need no Fence.
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

// Other returns the index that i is not.
func (i Index) Other() Index { return i ^ odd }

// Flip has new sections counted under the other index. A section whose Enter has loaded
// the index already may still be counted under the old one, however much later. One caller
// at a time.
func (r *Readers) Flip() {
	atomic.StoreUint64((*uint64)(&r.enter.index), uint64(r.Current().Other()))
}

// Fence makes what Enter does without a memory barrier look as if it did with one: after
// it, whoever has not been counted yet has not loaded anything inside its section either,
// and will see all that was stored before the Fence. It makes a system call, of one or two
// microseconds, where Enter is a sequence.
//
// refused is the kernel's error, if it didn't want to. The Fence is done all the same, by a
// stop of all goroutines; where that is not possible either, done is false, and nothing
// is promised.
func (r *Readers) Fence() (done bool, refused error) {
	if !r.fence {
		return true, nil
	}
	if refused = sys.Membarrier(); refused == nil {
		return true, nil
	}
	return instead(refused) == nil, refused
}

// Open returns how many sections are open under an index: all that were counted before
// the call and not left, and perhaps some that began or ended meanwhile. Negative means that
// there have been more Exits than Enters.
//
// Exits are read before enters: a section whose exit has been seen has been entered
// before, so its enter is seen, too, and nobody is left out. In the other order one that
// begins and ends in between makes up for one that is still open.
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
	left := r.Open(even) == 0 && r.Open(odd) == 1
	r.Exit(c)
	runtime.KeepAlive(r)
	_, refused := r.Fence()
	return a == even && b == odd && c == odd && opened && left && r.Open(odd) == 0 && r.Entered() == 3 && refused == nil
}
