package percpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// countFences counts the interruptions of the current engine's that f makes, by CPU; -1 is all.
func countFences(f func()) map[int]int {
	counted := map[int]int{}
	before := current.fence
	current.fence = func(cpu int) { counted[cpu]++; before(cpu) }
	defer func() { current.fence = before }()
	f()
	return counted
}

func sum(counted map[int]int) (n int) {
	for _, c := range counted {
		n += c
	}
	return n
}

// manyPlaces returns places on as many CPUs, real or not, in memory like an area's.
func manyPlaces(t *testing.T, cpus int) (places []place) {
	base := offHeap(t, uintptr(cpus+front())<<rowShift) + uintptr(front())<<rowShift
	for cpu := range cpus {
		places = append(places, place{Slots{base}, cpu, Main}, place{Slots{base}, cpu, RCU})
	}
	return places
}

// TestOneInterruptionForManyStacks: the locks of the stacks of many CPUs are taken by one
// interruption of all CPUs, those of few by one of each, those of none by none.
func TestOneInterruptionForManyStacks(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		for _, cpus := range []int{0, 1, fewCPUs, fewCPUs + 1, 64} {
			places := manyPlaces(t, max(1, cpus))[:2*cpus]
			fences := Fences()
			counted := countFences(func() { lockPlaces(places) })
			want := min(cpus, fewCPUs)
			if cpus > fewCPUs {
				want = 1
			}
			if sum(counted) != want || counted[allCPUs] != 0 != (cpus > fewCPUs) {
				t.Errorf("for %d CPUs there were these interruptions: %v", cpus, counted)
			}
			if n := Fences() - fences; n != uint64(want) {
				t.Errorf("Fences counted %d, want %d", n, want)
			}
			for _, p := range places {
				if !p.stack().held() {
					t.Errorf("the stack of CPU %d is not held", p.cpu)
				}
				p.stack().Unlock()
			}
		}
	})
}

// TestFreeOfUnusedSlotsInterruptsNothing: nothing is interrupted for the stacks of CPUs that never
// used them.
func TestFreeOfUnusedSlotsInterruptsNothing(t *testing.T) {
	for _, used := range []bool{false, true} {
		all := cells(t, pageCells)
		slots := Slots{all[0]}
		if used {
			slots.LockCPU(0, RCU).Unlock()
		}
		counted := countFences(func() {
			if err := slots.Free(); err != nil {
				t.Fatal(err)
			}
			for _, cell := range all[1:] {
				if err := freeCell(cell, true); err != nil {
					t.Fatal(err)
				}
			}
		})
		want := 0
		if used {
			want = 2 // to clear the stacks, and to discard their page
		}
		if sum(counted) != want {
			t.Errorf("used: %v, interruptions: %v", used, counted)
		}
	}
}

// TestSequenceBeatsLockAll: if a sequence of the CPU takes the lock between the swap of the gate
// and the interruption, LockAll waits for it.
func TestSequenceBeatsLockAll(t *testing.T) {
	slots := Slots{cells(t, 1)[0]}
	slots.LockCPU(0, Main).Unlock()
	st := slots.Stack(0, Main)
	before := current.fence
	defer func() { current.fence = before }()
	var unlocked atomic.Bool
	var other sync.WaitGroup
	current.fence = func(cpu int) {
		current.fence = before
		atomic.StoreUint64(&st.gate, heldMark) // as lockStack does, without a ticket
		other.Go(func() {
			for range 100 {
				runtime.Gosched()
			}
			unlocked.Store(true)
			st.Unlock()
		})
		before(cpu)
	}
	held := slots.LockAll()
	if !unlocked.Load() {
		t.Error("LockAll has a lock that another goroutine holds")
	}
	other.Wait()
	if len(held) != 2 {
		t.Errorf("%d stacks are held", len(held))
	}
	for _, st := range held {
		st.Unlock()
	}
}

// TestLockAllExcludes has goroutines push and pop while LockAll takes all stacks: while it holds
// them no operation changes any.
func TestLockAllExcludes(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 8)
		pop := newPop(slots, Main, noPop)
		free := newFree(filter(slots, Main, testOwn), noFree)
		var stop atomic.Bool
		var others sync.WaitGroup
		for g := range 4 {
			others.Go(func() {
				for i := g; !stop.Load(); i++ {
					free(object(i % 100))
					if _, err := pop(); err != nil {
						t.Error(err)
					}
					if i%64 == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		for range 200 {
			held := slots.LockAll()
			var heads []uint64
			for _, st := range held {
				heads = append(heads, atomic.LoadUint64(&st.head))
			}
			runtime.Gosched()
			for i, st := range held {
				if now := atomic.LoadUint64(&st.head); now != heads[i] {
					t.Errorf("CPU %d's stack changed from %#x to %#x while it was held", st.CPU, heads[i], now)
				}
			}
			for _, st := range held {
				st.Unlock()
			}
			runtime.Gosched()
		}
		stop.Store(true)
		others.Wait()
	})
}

// TestMarksOfManyCPUs: the marks of CPUs are apart from each other, and from the stacks.
func TestMarksOfManyCPUs(t *testing.T) {
	cell := cells(t, 1)[0]
	words := map[uintptr]bool{}
	for cpu := 0; cpu < 4*marksPerRow; cpu += 64 {
		words[cell-uintptr(unsafe.Pointer(marks(cell, cpu)))] = true
		for _, same := range []int{cpu + 1, cpu + 63} {
			if marks(cell, same) != marks(cell, cpu) {
				t.Errorf("CPUs %d and %d", cpu, same)
			}
		}
	}
	if len(words) != 4*marksPerRow/64 {
		t.Errorf("%d words", len(words))
	}
	for below := range words {
		if below <= guards<<rowShift || below%rowSize != 0 && rowSize-below%rowSize >= cellSize {
			t.Errorf("a mark lies %#x bytes before CPU 0's cell", below)
		}
	}
	if last := uintptr(unsafe.Pointer(marks(cell, NumCPU()-1))); last < cell-uintptr(front())<<rowShift&^(mem.PageSize-1) {
		t.Errorf("the last mark lies at %#x, beyond the area", last)
	}
}
