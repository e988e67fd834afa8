package percpu

import (
	"iter"
	"math/bits"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// An area has rows of marks in front of its guards: the mark of a CPU in a cell says that the CPU
// has used it, or that its stack was locked from elsewhere. What walks all CPUs of a cell, such as
// a flush, a close or a sum, visits those with a mark. The other CPUs' parts of the cell are still
// zeroed; to read them would cost time for every possible CPU, to write them would cost memory.
//
// A mark stays until the cell is handed out again. A goroutine that has taken a stack's lock sets
// it before it does anything with the stack. So a goroutine that gives a stack an array, and one
// that closes all stacks, can't miss each other if both of them do this in order:
//
//	install: take the lock, and so set the mark; load closed; install
//	close:   store closed; visit the CPUs with a mark
//
// Sequences set no marks. They change no words but those of stacks that have an array, and the gate
// of a stack whose lock they take.
const marksPerRow = cellSize * 8

// markRows is how many rows of marks an area has.
func markRows() int { return (NumCPU() + marksPerRow - 1) / marksPerRow }

// front is how many rows lie in front of CPU 0's.
func front() int { return markRows() + guards }

// marks returns the word with the marks of cpu and its neighbours in a cell.
func marks(cell uintptr, cpu int) *uint64 {
	row := guards + 1 + cpu/marksPerRow
	return mem.At[uint64](cell - uintptr(row)<<rowShift + uintptr(cpu%marksPerRow/64)*8)
}

// setMark sets a CPU's mark in a cell.
func setMark(cell uintptr, cpu int) {
	word, bit := marks(cell, cpu), uint64(1)<<(cpu%64)
	if atomic.LoadUint64(word)&bit == 0 {
		atomic.OrUint64(word, bit)
		if markAll {
			markOthers(cell)
		}
	}
}

// markAll is what MarkAll has set.
var markAll bool

// MarkAll has the first CPU that uses a cell mark all CPUs, until restore is called, as if each had
// used what that one does. Their parts of the cell take memory then. For benchmarks of what visits
// all CPUs, on machines with few. No cell may be in use by another goroutine at either call.
func MarkAll() (restore func()) {
	markAll = true
	return func() { markAll = false }
}

// markOthers marks all CPUs in a cell, and touches the parts of the cell that are theirs.
func markOthers(cell uintptr) {
	for cpu := range NumCPU() {
		atomic.OrUint64(marks(cell, cpu), 1<<(cpu%64))
		atomic.OrUint64(mem.At[uint64](cell+uintptr(cpu)<<rowShift), 0)
	}
}

// marked returns the CPUs that have a mark in the cell, in ascending order.
func marked(cell uintptr) iter.Seq[int] {
	return func(yield func(int) bool) {
		for first := 0; first < NumCPU(); first += 64 {
			for word := atomic.LoadUint64(marks(cell, first)); word != 0; word &= word - 1 {
				if !yield(first + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// prefetch is how many CPUs' parts of a cell prefetched has the processor load at once: as many
// cache lines as it can wait for.
const prefetch = 8

// prefetched is marked for a caller that reads the whole cell. The rows of CPUs lie so far apart
// that each part is in a page of its own, and all are in the same few sets of caches and TLB. Read
// one after the other, each costs the time of a walk through page tables and of a miss. So those of
// a few CPUs are touched at once before they are yielded.
func prefetched(cell uintptr) iter.Seq[int] {
	return func(yield func(int) bool) {
		for first := 0; first < NumCPU(); first += 64 {
			for word := atomic.LoadUint64(marks(cell, first)); word != 0; {
				group := word
				for n := 0; n < prefetch && word != 0; n++ {
					touch(cell, first+bits.TrailingZeros64(word))
					word &= word - 1
				}
				for ; group != word; group &= group - 1 {
					if !yield(first + bits.TrailingZeros64(group)) {
						return
					}
				}
			}
		}
	}
}

// touch loads a word of each cache line of a CPU's part of a cell.
func touch(cell uintptr, cpu int) {
	part := cell + uintptr(cpu)<<rowShift
	for off := uintptr(0); off < cellSize; off += 64 {
		atomic.LoadUint64(mem.At[uint64](part + off))
	}
}

// unpublished returns a CPU's stack of slots that no other goroutine has seen. It takes no lock.
func (s Slots) unpublished(cpu int, k Kind) *Stack {
	setMark(s.base, cpu)
	return s.Stack(cpu, k)
}

// clearMarks takes all marks off a cell that no goroutine uses.
func clearMarks(cell uintptr) {
	for first := 0; first < NumCPU(); first += 64 {
		if word := marks(cell, first); atomic.LoadUint64(word) != 0 {
			atomic.StoreUint64(word, 0)
		}
	}
}

// CPUs returns the CPUs that have ever taken the lock of one of their stacks, or whose stacks were
// locked from elsewhere, in ascending order. The stacks of all others are zeroed. It includes every
// CPU whose lock was taken before the call.
func (s Slots) CPUs() iter.Seq[int] { return marked(s.base) }

// CPUsPrefetched is CPUs for a caller that takes Snapshots of all stacks: with many CPUs it takes a
// fraction of the time.
func (s Slots) CPUsPrefetched() iter.Seq[int] { return prefetched(s.base) }

// markedInPage returns the CPUs that have a mark in one of the cells of a page.
func markedInPage(page uintptr) (cpus []int) {
	for first := 0; first < NumCPU(); first += 64 {
		var word uint64
		for i := range uintptr(pageCells) {
			word |= atomic.LoadUint64(marks(page+i*cellSize, first))
		}
		for ; word != 0; word &= word - 1 {
			cpus = append(cpus, first+bits.TrailingZeros64(word))
		}
	}
	return cpus
}
