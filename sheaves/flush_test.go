package sheaves

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TestFlushCPU (kernel: __pcs_flush_all_cpu): everything but the barn, and rcu_free through a grace
// period to the source.
func TestFlushCPU(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.freeRCU(3)
	r.arrange(state{main: 3, spare: 2, full: 1, empty: 1})
	r.FlushCPU(0)
	r.expect(state{main: 0, spare: none, full: 1}, events{SheafFlush: 5, SheafFree: 2})
	r.expectRCU(none, 1)
	r.start = r.Stats().Events
	reader.Quiescent()
	if !r.reclaimOne(&r.barns[0]) {
		t.Error("nothing is ready")
	}
	r.expect(state{main: 0, spare: none, full: 1}, events{SheafFlush: 3, SheafFree: 1})

	r.start = r.Stats().Events
	r.FlushCPU(0) // nothing left, not even an empty sheaf
	r.expect(state{main: 0, spare: none, full: 1}, nil)
	r.setSpare(0)
	r.FlushCPU(0)
	r.expect(state{main: 0, spare: none, full: 1}, events{SheafFree: 1})
}

// TestFlushTakesOneLock: a flush holds main's lock once, however much main and its spare hold. From
// another CPU each hold costs a system call, and the CPU's operations go to slabs meanwhile.
func TestFlushTakesOneLock(t *testing.T) {
	r := newRig(t, 1)
	holds := func(f func()) uint64 {
		before := r.slots.Snapshot(0, percpu.Main).Seq
		f()
		return r.slots.Snapshot(0, percpu.Main).Seq - before
	}
	one := holds(func() { r.slots.LockCPU(0, percpu.Main).Unlock() })
	for _, s := range []state{{main: 4, spare: 3}, {main: 1, spare: none}, {main: 0, spare: 4}, {main: 0, spare: 0}} {
		r.arrange(s)
		if n := holds(func() { r.FlushCPU(0) }); n != one {
			t.Errorf("%+v: the lock was held %d times", s, n/one)
		}
	}
	if n := holds(func() { r.FlushCPU(0) }); n != 0 {
		t.Errorf("with nothing to flush the lock was held %d times", n/one)
	}
}

// TestFlushInBatches: where main is emptied in place its lock is released for every 32 objects.
func TestFlushInBatches(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.Capacity = 100 })
	r.arrange(state{main: 100, spare: none})
	var sizes []int
	var again func()
	again = func() {
		st := r.hold(percpu.Main) // hangs if the flush held it
		sizes = append(sizes, st.Size())
		st.Unlock()
		r.src.onFlush = again
	}
	r.src.onFlush = again
	r.flushMain(0, true)
	r.src.onFlush = nil
	if len(sizes) != 4 || sizes[0] != 68 || sizes[2] != 4 {
		t.Errorf("main held %v objects between the batches", sizes)
	}
	r.expect(state{main: 0, spare: none}, events{SheafFlush: 100})
}

// TestFlushMainWithoutWait: without wait a flush ends where it finds main's lock held.
func TestFlushMainWithoutWait(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: none})
	st := r.hold(percpu.Main)
	if n := r.flushMain(0, false); n != 0 {
		t.Errorf("flushed %d objects of a held stack", n)
	}
	st.Unlock()
	if n := r.flushMain(0, false); n != 4 {
		t.Errorf("flushed %d objects, want 4", n)
	}
}

// TestFlush: it reaches every CPU, and Shrink every barn as well. Sheaves that wait stay.
func TestFlush(t *testing.T) {
	r := newRig(t, 2)
	reader := r.reader()
	waiting := make([]int, 2) // sheaves, by node
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		r.freeRCU(2)
		waiting[r.homes.Index(cpu)]++
		r.arrange(state{main: 2, spare: 3, full: 1, empty: 1})
	}
	r.Flush()
	for cpu := range percpu.NumCPU() {
		r.cpu = cpu
		if got, want := r.state(), (state{main: 0, spare: none, full: 1}); got != want {
			t.Errorf("CPU %d: %+v, want %+v", cpu, got, want)
		}
	}
	r.Shrink()
	for cpu := range percpu.NumCPU() {
		r.cpu = cpu
		if got, want := r.state(), (state{main: 0, spare: none}); got != want {
			t.Errorf("CPU %d: %+v, want %+v", cpu, got, want)
		}
		r.expectRCU(none, waiting[r.homes.Index(cpu)])
	}
	reader.Offline()
}

// TestClose: every object comes home, wherever it was, after its grace period. Later operations are
// refused.
func TestClose(t *testing.T) {
	r := newRig(t, 2)
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		r.park(1)
		r.freeRCU(3)
		r.arrange(state{main: 2, spare: 3, full: 2, empty: 2})
	}
	r.Close()
	if r.src.away() != 0 || len(r.pool.of) > 0 {
		t.Errorf("%d objects are out, %d pools mapped", r.src.away(), len(r.pool.of))
	}
	if got := r.src.reclaims(); got != 7*percpu.NumCPU() {
		t.Errorf("%d objects reclaimed", got)
	}
	// The barns are full; what was in rcu_free isn't even offered to them.
	if got := int(r.Stats().Events[BarnPutFail] - r.start[BarnPutFail]); got > percpu.NumCPU() {
		t.Errorf("%d sheaves were refused by barns", got)
	}
	if r.TryAlloc() != nil || r.TryAllocNode(0) != nil || r.AllocBulk(make([]unsafe.Pointer, 1)) != 0 {
		t.Error("a closed set gave an object")
	}
	st := r.Stats()
	if st.MainObjects != 0 || st.RCUObjects != 0 || st.Barns[0] != (BarnStats{}) {
		t.Errorf("a closed set holds %+v", st)
	}
	r.Flush() // of nothing: closed stacks must not make it fail
	r.barrier()
	r.Shrink()
	r.tick()
	r.FlushCPU(0)
}

// TestCloseWaitsForReaders: destructors of a closing set run after the grace period.
func TestCloseWaitsForReaders(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(1)
	r.freeRCU(1)
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	doesNotHappen(t, "Close doesn't wait for a reader", closed)
	if r.src.reclaims() != 0 {
		t.Error("objects reclaimed under a reader")
	}
	reader.Offline()
	<-closed
}

// TestCloseContext: a Close that a reader has held up is completed by a later one, and then does
// nothing.
func TestCloseContext(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 3, full: 2, empty: 2})
	reader := r.reader()
	r.freeRCU(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		closed := make(chan error)
		// On another goroutine: a build with invariants takes the test's for the reader.
		go func() { closed <- r.CloseContext(ctx) }()
		if err := <-closed; !errors.Is(err, context.Canceled) {
			t.Errorf("CloseContext under a reader: %v", err)
		}
		if r.TryAlloc() != nil || r.src.reclaims() != 0 {
			t.Error("a set that is being closed gave an object, or reclaimed one under a reader")
		}
	}
	reader.Offline()
	if err := r.CloseContext(t.Context()); err != nil || r.src.reclaims() != 1 {
		t.Errorf("CloseContext: %v, %d objects reclaimed", err, r.src.reclaims())
	}
	reader.Online()
	if err := r.CloseContext(ctx); err != nil {
		t.Errorf("CloseContext of a closed set: %v", err)
	}
	reader.Offline()
}

// TestCloseWithLoans: the memory of the sheaves is given back when borrowed ones have been
// returned, after Close.
func TestCloseWithLoans(t *testing.T) {
	r := newRig(t, 1)
	l, large := r.borrow(2), r.borrow(9)
	r.use(l, 1)
	r.Close()
	if len(r.pool.of) == 0 {
		t.Fatal("a borrowed sheaf was unmapped")
	}
	if _, err := r.pool.get(r.Capacity(), 0); err == nil {
		t.Error("a closed pool gave a sheaf")
	}
	r.use(l, 1)
	r.Return(large)
	r.Return(l)
	if len(r.pool.of) > 0 {
		t.Errorf("%d pools are still mapped", len(r.pool.of))
	}
}

// TestFlushMainEnds: a CPU that goes on freeing doesn't prolong a flush.
func TestFlushMainEnds(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: none})
	r.src.onFlush = func() {
		st := r.hold(percpu.Main)
		st.PushN(r.src.take(0, 2))
		st.Unlock()
	}
	if n := r.flushMain(0, true); n != 4 {
		t.Errorf("flushed %d objects of a sheaf that held 4", n)
	}
	r.expect(state{main: 2, spare: none}, events{SheafFlush: 4})
}

// TestFlushOfAnotherCPU: The kernel's hotplug callback for a CPU that had gone flushed the main
// sheaf of the CPU that ran it: the objects of the dead one were lost, and a live CPU had its
// hottest taken away. Here any goroutine flushes any CPU.
func TestFlushOfAnotherCPU(t *testing.T) {
	r := newRig(t, 1)
	r.moveTo(1)
	r.freeRCU(3)
	r.arrange(state{main: 4, spare: 3})
	r.moveTo(0)
	r.freeRCU(2)
	r.setMain(2)
	r.setSpare(1)
	r.FlushCPU(1)
	if got, want := r.state(), (state{main: 2, spare: 1}); got != want {
		t.Errorf("the flushing CPU has %+v, want %+v", got, want)
	}
	r.expectRCU(2, 1)
	r.cpu = 1
	if got, want := r.state(), (state{main: 0, spare: none}); got != want {
		t.Errorf("the flushed CPU has %+v, want %+v", got, want)
	}
	r.expectRCU(none, 1)
}

// TestFlushExcludes: A flush of all CPUs in the kernel ran without the lock that keeps CPUs from
// going away, and met the callback that flushes a dead one. Here another flush, a change of limits
// and Close must not run beside a flush.
func TestFlushExcludes(t *testing.T) {
	for name, other := range map[string]func(*rig){
		"Flush":       func(r *rig) { r.Flush() },
		"Shrink":      func(r *rig) { r.Shrink() },
		"SetCapacity": func(r *rig) { r.resize(7) },
		"SetLimits": func(r *rig) {
			if err := r.SetLimits(1, 1); err != nil {
				r.t.Error(err)
			}
		},
		"Close": func(r *rig) { r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 4, spare: none})
			done := make(chan struct{})
			r.src.onFlush = func() {
				go func() { defer close(done); other(r) }()
				doesNotHappen(t, name+" doesn't wait for the flush", done)
			}
			r.Flush()
			<-done
		})
	}
}
