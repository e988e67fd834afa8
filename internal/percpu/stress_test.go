package percpu

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// TestStress checks the engines independently: objects circulate through the stacks, a table shows
// that each object has one owner at a time, and at the end the objects and the counts agree to the
// operation. Meanwhile more goroutines than CPUs run, signals interrupt them, the collector stops
// them, and others take the stacks' locks and replace their arrays.
func TestStress(t *testing.T) {
	eachEngine(t, func(t *testing.T) { stress(t, plainOps, testutil.Stress(t, 4_000_000)) })
}

// TestStressZero is TestStress of the operations that clear: an object is cleared when it is
// popped, also if another goroutine has written to it before, and keeps what its owner writes.
func TestStressZero(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		stress(t, zeroOps(offHeap(t, uintptr(NumCPU())*40*64)), testutil.Stress(t, 1_000_000))
	})
}

// stressOps are operations for objects that are 64 bytes apart.
type stressOps struct {
	base uintptr // address of object 0
	pop  func(s Slots, of Filter) PopFunc
	free func(f Filter, slow FreeFunc) FreeFunc
	use  func(p unsafe.Pointer) (fault string) // what the owner of an object does
}

var plainOps = stressOps{
	base: testBase,
	pop:  func(s Slots, _ Filter) PopFunc { return newPop(s, Main, noPop) },
	free: newFree,
	use:  func(unsafe.Pointer) string { return "" },
}

// zeroOps clear the first half of an object when it is freed, and the second when it is popped. The
// objects have memory.
func zeroOps(base uintptr) stressOps {
	return stressOps{
		base: base,
		pop: func(s Slots, _ Filter) PopFunc {
			p := new(PopZero)
			p.Init(s, Main, 32, 32, noPop)
			return p.Func()
		},
		free: func(f Filter, slow FreeFunc) FreeFunc {
			p := new(FreeZero)
			p.Init(f, testOwn, 32, slow)
			return p.Func()
		},
		use: func(p unsafe.Pointer) string {
			words := unsafe.Slice((*uint64)(p), 8)
			for i, w := range words {
				if w != 0 {
					return fmt.Sprintf("word %d of an object is not cleared", i)
				}
			}
			for round := range uint64(4) {
				for i := range words {
					words[i] = round + 1
				}
				for i, w := range words {
					if w != round+1 {
						return fmt.Sprintf("word %d of an object in use is %#x", i, w)
					}
				}
			}
			return ""
		},
	}
}

func stress(t *testing.T, ops stressOps, operations int) {
	const goroutines, perCPU, limit = 16, 40, 64
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	slots := arrays(t, Main, limit)
	objects := perCPU * NumCPU()
	object := func(i int) unsafe.Pointer { return mem.Ptr(ops.base + uintptr(i)*64) }
	index := func(p unsafe.Pointer) int { return int(uintptr(p)-ops.base) / 64 }
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
	ours.base = ops.base
	owned := make([]atomic.Int32, objects)
	var pops, pushes atomic.Uint64
	var faulty atomic.Bool
	var workers sync.WaitGroup
	for range goroutines {
		workers.Go(func() {
			taken := true
			pop, free := ops.pop(slots, ours), ops.free(ours, func(unsafe.Pointer) { taken = false })
			var in, out uint64
			for i := 0; i < operations/goroutines/2 && !faulty.Load(); i++ {
				p, _ := pop()
				if p == nil {
					runtime.Gosched()
					continue
				}
				out++
				if !owned[index(p)].CompareAndSwap(0, 1) {
					t.Errorf("object %d has two owners", index(p))
				}
				if fault := ops.use(p); fault != "" {
					t.Error(fault)
					faulty.Store(true)
				}
				owned[index(p)].Store(0)
				taken = true
				free(p)
				for tries := 0; !taken; tries++ {
					if tries == 1<<20 {
						t.Error("all stacks are full: there are more objects than were made")
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
		t.Errorf("%d of %d objects are on the stacks", c.Size, objects)
	}
	if c.Pops-setup.Pops != pops.Load() || c.Pushes-setup.Pushes != pushes.Load() {
		t.Errorf("counted %d pops and %d pushes, there were %d and %d", c.Pops-setup.Pops, c.Pushes-setup.Pushes, pops.Load(), pushes.Load())
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

// signals sends the process the signal that Go preempts with.
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

// movers takes the locks of stacks, of its own CPU and of others, and moves their objects to
// another array. The words that an interrupted push or pop has loaded are stale then.
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
