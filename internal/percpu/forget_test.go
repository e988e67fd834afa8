package percpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// whileHeld runs f on another goroutine, which has to wait for the lock of st, and gives
// st back when f has had every chance not to.
func whileHeld(t *testing.T, st *Stack, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for range 1000 {
		runtime.Gosched()
		if !st.held() {
			t.Error("a stack has been unlocked under its holder")
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

// TestForgetWaitsForHolders: who still holds the lock of a closed stack keeps it, when its
// cell is given up and when the cell's page is, and the page's other cells stay alive.
func TestForgetWaitsForHolders(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		inUse := Cells()
		addrs := cells(t, pageCells)
		late, live := Slots{addrs[0]}, Slots{addrs[1]}
		for cpu := range NumCPU() {
			for _, k := range []Kind{Main, RCU} {
				live.Stack(cpu, k).Install(offHeap(t, 32), 0, 4, testOwn)
			}
		}
		free := newFree(filter(live, Main, testOwn), noFree)
		free(object(1))

		// So that a Snapshot of before can tell.
		st := late.LockCPU(NumCPU()-1, RCU)
		st.CountPush()
		seq := st.seq
		whileHeld(t, st, late.Forget)
		if after := *st; after.seq < seq+2 || after != (Stack{seq: after.seq}) {
			t.Errorf("the stack reads %+v, seq was %d", after, seq)
		}
		if c := total(live, Main); c.Size != 1 || c.Pushes != 1 {
			t.Errorf("a live cell of the same page reads %+v", c)
		}

		for _, addr := range addrs[2:] {
			if err := (Counters{addr}).Forget(); err != nil {
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
		// The last cell takes the page along, whose first one is in use once more.
		st = late.LockCPU(0, Main)
		whileHeld(t, st, live.Forget)
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

// TestForgetStorm gives up slots that goroutines go on using: with every operation there
// is, on every CPU, until after the page is gone.
func TestForgetStorm(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		for range max(4, testutil.Stress(t, 4_000)/400) {
			addrs := cells(t, pageCells)
			slots := make([]Slots, pageCells)
			var over atomic.Bool
			var users sync.WaitGroup
			for i, addr := range addrs {
				slots[i] = Slots{addr}
			}
			for user := range 3 {
				users.Go(func() {
					pop := newPop(slots[user], Main, nothing)
					free := newFree(filter(slots[user], Main, 0), noFree) // matches a closed stack's owner word
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
				if err := s.Forget(); err != nil {
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
