package percpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// whileHeld runs f on another goroutine, where it has to wait for the lock of st. It unlocks st
// after giving f much time to take the lock wrongly.
func whileHeld(t *testing.T, st *Stack, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for range 1000 {
		runtime.Gosched()
		if !st.held() {
			t.Error("a stack has been unlocked while it was held")
			break
		}
	}
	if st.held() {
		st.Unlock()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFreeWaitsForHolders: a goroutine that still holds the lock of a closed stack keeps it when
// the cell is freed, and when the cell's page is discarded. The page's other cells stay in use.
func TestFreeWaitsForHolders(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		inUse := Cells()
		addrs := cells(t, pageCells)
		late, live := Slots{base: addrs[0]}, Slots{base: addrs[1]}
		for cpu := range NumCPU() {
			for _, k := range []Kind{Main, RCU} {
				live.unpublished(cpu, k).Install(offHeap(t, 32), 0, 4, testOwn)
			}
		}
		free := newFree(filter(live, Main, testOwn), noFree)
		free(object(1))

		// A Snapshot that began before must see another seq.
		st := late.LockCPU(NumCPU()-1, RCU)
		st.CountPush()
		seq := st.seq
		whileHeld(t, st, late.Free)
		if after := *st; after.seq < seq+2 || after != (Stack{seq: after.seq}) {
			t.Errorf("the stack reads %+v, seq was %d", after, seq)
		}
		if c := total(live, Main); c.Size != 1 || c.Pushes != 1 {
			t.Errorf("a live cell of the same page reads %+v", c)
		}

		for _, addr := range addrs[2:] {
			if err := (Counters{base: addr}).Free(); err != nil {
				t.Error(err)
			}
		}
		for cpu := range NumCPU() {
			for _, k := range []Kind{Main, RCU} {
				st := live.LockCPU(cpu, k)
				st.Install(0, 0, 0, 0)
				st.Unlock()
			}
		}
		// With the last cell the page is discarded, while a late operation holds the first one.
		st = late.LockCPU(0, Main)
		whileHeld(t, st, live.Free)
		for cpu := range NumCPU() {
			for off := uintptr(0); off < mem.PageSize; off += 8 {
				if w := *mem.At[uint64](addrs[0] + uintptr(cpu)<<rowShift + off); w != 0 {
					t.Fatalf("CPU %d, +%d: %#x", cpu, off, w)
				}
			}
		}
		if n := Cells(); n != inUse {
			t.Errorf("%d cells are in use, %d before", n, inUse)
		}
	})
}

// TestFreeStress frees slots that goroutines go on using, by every operation and on every CPU,
// until after the page has been discarded.
func TestFreeStress(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		for range max(4, testutil.Stress(t, 4_000)/400) {
			addrs := cells(t, pageCells)
			slots := make([]Slots, pageCells)
			var over atomic.Bool
			var users sync.WaitGroup
			for i, addr := range addrs {
				slots[i] = Slots{base: addr}
			}
			for user := range 3 {
				users.Go(func() {
					pop := newPop(slots[user], Main, noPop)
					// A closed stack's owner word.
					free := newFree(filter(slots[user], Main, 0), noFree)
					for cpu := 0; !over.Load(); cpu++ {
						if p, _ := pop(); p != nil {
							t.Errorf("%p was in a closed stack", p)
							return
						}
						free(object(1))
						if st, _ := slots[user].TryLock(Main); st != nil {
							st.Unlock()
						}
						if st := slots[user].TryLockCPU(cpu%NumCPU(), RCU); st != nil {
							st.Unlock()
						}
						slots[user].Snapshot(cpu%NumCPU(), Main)
						if cpu%8 == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			for _, s := range slots {
				if err := s.Free(); err != nil {
					t.Error(err)
				}
			}
			over.Store(true)
			users.Wait()
			for _, s := range slots[:3] {
				for cpu := range NumCPU() {
					for _, k := range []Kind{Main, RCU} {
						if st := s.Stack(cpu, k); *st != (Stack{seq: st.seq}) {
							t.Errorf("the stack reads %+v", *st)
						}
					}
				}
			}
		}
	})
}
