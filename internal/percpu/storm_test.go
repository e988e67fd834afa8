package percpu

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
)

// TestStorm proves the engines by an independent checker: objects circulate through
// the stacks, each has one owner at a time in a table of its own, and at the end the
// objects and the counts add up to the operation. Meanwhile more goroutines than
// CPUs run, signals interrupt them, the collector stops them, and others take the
// stacks' locks and move arrays about.
func TestStorm(t *testing.T) {
	eachEngine(t, func(t *testing.T) { storm(t, testutil.Stress(t, 4_000_000)) })
}

func storm(t *testing.T, operations int) {
	const goroutines, perCPU, limit = 16, 40, 64
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	slots := arrays(t, Main, limit)
	objects := perCPU * NumCPU()
	for cpu := range NumCPU() {
		st := slots.LockCPU(cpu, Main)
		for i := range perCPU {
			st.PushN([]unsafe.Pointer{object(cpu*perCPU + i)})
		}
		st.Unlock()
	}
	setup := total(slots, Main)

	stop := make(chan struct{})
	var disturbers sync.WaitGroup
	disturbers.Go(func() { signals(stop) })
	disturbers.Go(func() { collections(stop) })
	disturbers.Go(func() { movers(t, slots, limit, stop) })

	ours := filter(slots, Main, testOwn)
	owned := make([]atomic.Int32, objects)
	var pops, pushes atomic.Uint64
	var workers sync.WaitGroup
	for range goroutines {
		workers.Go(func() {
			taken := true
			pop, free := newPop(slots, Main, nothing), newFree(ours, func(unsafe.Pointer) { taken = false })
			var in, out uint64
			for range operations / goroutines / 2 {
				p, _ := pop()
				if p == nil {
					runtime.Gosched()
					continue
				}
				out++
				if !owned[index(p)].CompareAndSwap(0, 1) {
					t.Errorf("object %d has two owners", index(p))
				}
				owned[index(p)].Store(0)
				taken = true
				free(p)
				for tries := 0; !taken; tries++ {
					if tries == 1<<20 {
						t.Error("no stack takes an object any more: there are more than were made")
						return
					}
					runtime.Gosched()
					taken = true
					free(p)
				}
				in++
			}
			pops.Add(out)
			pushes.Add(in)
		})
	}
	workers.Wait()
	close(stop)
	disturbers.Wait()

	c := total(slots, Main)
	if c.Size != objects {
		t.Errorf("%d of %d objects are left", c.Size, objects)
	}
	if c.Pops-setup.Pops != pops.Load() || c.Pushes-setup.Pushes != pushes.Load() {
		t.Errorf("counted %d pops and %d pushes of %d and %d", c.Pops-setup.Pops, c.Pushes-setup.Pushes, pops.Load(), pushes.Load())
	}
	seen := make([]bool, objects)
	for cpu := range NumCPU() {
		st := slots.LockCPU(cpu, Main)
		for _, p := range st.Objects()[:st.Size()] {
			if seen[index(p)] {
				t.Errorf("object %d is there twice", index(p))
			}
			seen[index(p)] = true
		}
		st.Unlock()
	}
}

// signals sends the signal that Go preempts with, to all threads in turn.
func signals(stop chan struct{}) {
	for pid := os.Getpid(); ; time.Sleep(20 * time.Microsecond) {
		select {
		case <-stop:
			return
		default:
			_ = syscall.Kill(pid, syscall.SIGURG)
		}
	}
}

func collections(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			runtime.GC()
		}
	}
}

// movers takes stacks' locks, its own CPU's and others', and moves the objects to
// another array; what a push or pop reads after being interrupted here is stale.
func movers(t *testing.T, slots Slots, limit int, stop chan struct{}) {
	spare := offHeap(t, uintptr(limit)*8)
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		var st *Stack
		if i%4 == 0 {
			st, _ = slots.TryLock(Main)
		} else {
			st = slots.LockCPU(i%NumCPU(), Main)
		}
		if st == nil {
			continue
		}
		old, objs := st.objs, st.Objects()[:st.Size()]
		st.Install(spare, len(objs), limit, testOwn)
		copy(st.Objects(), objs)
		clear(objs)
		spare = old
		st.Unlock()
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
}
