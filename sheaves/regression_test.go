package sheaves

import (
	"errors"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// Bugs that percpu sheaves had while they grew up in the kernel, numbered in one row
// with those in package slub's tests of this name. Each test says what the bug was and
// what it would be here.

// The callback that hotplug runs for a CPU which has gone flushed the main sheaf of the
// CPU that ran it: the dead one's objects were lost to everybody, and a live CPU had its
// hottest taken away. Here any goroutine flushes any CPU.
func TestRegression02FlushOfAnotherCPU(t *testing.T) {
	r := newRig(t, 1)
	r.moveTo(1)
	r.retire(3)
	r.arrange(state{4, 3, 0, 0})
	r.moveTo(0)
	r.retire(2)
	r.setMain(2)
	r.setSpare(1)
	r.FlushCPU(1)
	if got, want := r.state(), (state{2, 1, 0, 0}); got != want {
		t.Errorf("the flushing CPU has %+v, want %+v", got, want)
	}
	r.expectRCU(2, 1)
	r.cpu = 1
	if got, want := r.state(), (state{0, none, 0, 0}); got != want {
		t.Errorf("the flushed CPU has %+v, want %+v", got, want)
	}
	r.expectRCU(none, 1)
}

// A sheaf whose objects the hooks had all taken away was to go to the barn's empty ones;
// when those had reached their limit, nobody freed it.
func TestRegression03EmptySheafBeyondTheLimit(t *testing.T) {
	r := newRig(t, 1)
	r.park(3)
	r.arrange(state{0, none, 0, r.MaxEmpty() - 1})
	r.src.keep = keepFirst(3 * r.Capacity())
	for r.reapOne(&r.barns[0]) {
	}
	r.expect(state{0, none, 0, r.MaxEmpty()}, events{SheafFree: 2})
	// And audit finds every sheaf back in its pool.
}

// Every CPU had a pointer to a barn, set up for all possible CPUs when the cache was
// made; for those that were offline then, the node was bogus. Here a walk asks for the
// barn, and what waits for a grace period goes back to the barn it came from, whichever
// CPU finds it ready.
func TestRegression04BarnOfTheRightNode(t *testing.T) {
	r := newRig(t, 2)
	r.park(2)
	r.arrange(state{0, none, 0, 0})
	r.moveTo(1)
	r.arrange(state{0, none, 0, 0})
	if !r.reapOne(&r.barns[0]) {
		t.Fatal("nothing is ready")
	}
	r.tick() // notes the other one
	r.tick() // reaps it
	r.expect(state{0, none, 0, 0}, events{BarnPut: 2})
	r.got(r.Alloc()) // must not be of node 0, though that has plenty
	for p := range r.mine {
		if nodeOf(p) != 1 {
			t.Errorf("CPU 1 got %v of node %d", p, nodeOf(p))
		}
	}
	r.cpu = 0
	if got, want := r.state(), (state{0, none, 2, 0}); got != want {
		t.Errorf("node 0 has %+v, want %+v", got, want)
	}
}

// kvfree_rcu_barrier queued its flush only for CPUs whose rcu_free looked present; but
// a sheaf that had just been detached, by the object that filled it, was neither there
// nor with call_rcu yet, because that was called after the unlock.
func TestRegression05BarrierSkipsIdleCPUs(t *testing.T) {
	r := newRig(t, 1)
	r.retire(r.Capacity() - 1)
	last := r.src.take(0, 1)[0]
	idle := false
	done := make(chan struct{})
	r.onNodeOfCPU = func() { // in submit: rcu_free is gone, and not in the barn yet
		idle = sheafOf(r.Slots.Stack(0, percpu.RCU).Sheaf) == nil && !r.barns[0].anyWaiting()
		go func() { defer close(done); r.barrier() }()
		stays(t, "Barrier passes a CPU that looks idle", done)
	}
	if !r.FreeRCU(last, own(0), true) {
		t.Error("refused")
	}
	<-done
	if got := r.src.expiries(); !idle || got != r.Capacity() {
		t.Errorf("idle: %v; Barrier returned with %d of %d objects expired", idle, got, r.Capacity())
	}
}

// And where nothing had to be flushed anywhere, the barrier didn't wait for callbacks
// at all: neither for those queued nor for one that was running.
func TestRegression05BarrierOfNothingToFlush(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(2)
	r.expectRCU(none, 2)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(done); r.barrier() }()
	stays(t, "Barrier doesn't wait for the grace period", done)
	r.src.onExpire = func() { close(inside); <-leave }
	reader.Offline()
	<-inside
	second := make(chan struct{})
	go func() { defer close(second); r.barrier() }()
	stays(t, "Barrier doesn't wait for a destructor", second)
	close(leave)
	<-done
	<-second
	if got := r.src.expiries(); got != 2*r.Capacity() {
		t.Errorf("%d objects have expired", got)
	}
}

// When memory ran out halfway through a refill, the sheaf was freed as it was, with the
// objects that it had got. Every walk that fills a sheaf gives them back.
func TestRegression08PartialRefill(t *testing.T) {
	for name, refill := range map[string]func(*rig) (got bool){
		"Alloc":          func(r *rig) bool { return r.Alloc() != nil },
		"AllocNode":      func(r *rig) bool { return r.AllocNode(0) != nil },
		"Prefill":        func(r *rig) bool { _, err := r.Prefill(3); return err == nil },
		"Prefill beyond": func(r *rig) bool { _, err := r.Prefill(9); return err == nil },
		"Return": func(r *rig) bool {
			l := Loan{sh: r.sheafWith(2)}
			r.setSpare(1) // in whose place it would go
			r.Return(l)
			r.setSpare(none)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{0, none, 0, 1})
			r.src.short = 2
			if refill(r) {
				t.Error("succeeded with less than it needs")
			}
			if n := r.src.away(); n != 0 {
				t.Errorf("%d objects are lost", n)
			}
		})
	}
}

// Aliases of kmalloc caches were given sheaves twice when the late boot code did so
// for each name, and the first ones leaked. Here the one thing that makes sheaves for a
// living set is SetCapacity: what it replaces goes, and what it made goes when it fails
// halfway.
func TestRegression12SheavesMadeTwice(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, 4, 1, 1})
	made := func() int {
		e := r.Stats().Events
		return int(e[SheafAlloc]) - int(e[SheafFree])
	}
	before := made()
	for _, capacity := range []int{8, 8, 4, 4} {
		r.resize(capacity)
		if len(r.pool.of) != 1 {
			t.Errorf("%d pools, want that of %d alone", len(r.pool.of), capacity)
		}
	}
	// The CPU's spare and the barn's two are gone; each CPU has a main sheaf, as before.
	if got, want := made(), before-3+3; got > want {
		t.Errorf("%d sheaves more than before", got-want)
	}
	before = made()
	if percpu.NumCPU() > 1 {
		// Of sheaves this large each needs a mapping, of which the second is refused.
		defer sys.FailNth(sys.CallReserve, 2, syscall.ENOMEM)()
		if err := r.SetCapacity(percpu.MaxCap, 0); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("changed without memory: %v", err)
		}
	}
	if got := made(); got != before || len(r.pool.of) != 1 {
		t.Errorf("%d sheaves leak, %d pools", got-before, len(r.pool.of))
	}
}

// A flush of all CPUs ran without the lock that keeps CPUs from going away, and met the
// callback that flushes a dead one. What may not run beside a flush here are Close and
// changes of limits, and others of its kind.
func TestRegression14FlushExcludes(t *testing.T) {
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
			r.arrange(state{4, none, 0, 0})
			done := make(chan struct{})
			r.src.onFlush = func() {
				go func() { defer close(done); other(r) }()
				stays(t, name+" doesn't wait for the flush", done)
			}
			r.Flush()
			<-done
		})
	}
}

// A prefilled sheaf that was larger than the cache's went through the routine for
// regular ones: counted wrong, and kept where its size misleads. The two must not be
// told apart by their size, which SetCapacity can make the same.
func TestRegression19OversizeIsFreedAsSuch(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, none, 0, 0})
	oversize, regular := r.borrow(9), r.borrow(3)
	r.resize(9)
	before := r.Stats().Events
	r.Return(oversize)
	r.Return(regular)
	if st := r.state(); st.spare != none || st.full+st.empty > 0 {
		t.Errorf("kept: %+v", st)
	}
	after := r.Stats().Events
	if after[SheafFree]-before[SheafFree] != 2 || after[ReturnSlow]-before[ReturnSlow] != 1 || after[ReturnFast] != before[ReturnFast] {
		t.Errorf("%d freed, %d slow returns, %d fast ones", after[SheafFree]-before[SheafFree],
			after[ReturnSlow]-before[ReturnSlow], after[ReturnFast]-before[ReturnFast])
	}
	if p := r.pool.of[9]; p.made != percpu.NumCPU() {
		t.Errorf("the pool counts %d sheaves, %d CPUs have one", p.made, percpu.NumCPU())
	}
}

// The last of the bugs in the first posting of sheaves, RFC v1, is the one that the kernel has still: an object in the
// rcu_free sheaf of a CPU that frees no more is freed when somebody flushes the cache,
// which may be never. Here the timer submits it.
func TestRegression21IdleRCUFree(t *testing.T) {
	r := newRig(t, 1)
	var objs []unsafe.Pointer
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		objs = append(objs, r.retire(1)...)
	}
	if !r.timerArmed.Load() {
		t.Fatal("nothing will ever come back for it")
	}
	for i := 0; i < 4 && r.timerArmed.Load(); i++ {
		r.tick()
	}
	if got := r.src.expiries(); got != len(objs) {
		t.Errorf("%d of %d objects have expired", got, len(objs))
	}
	if r.timerArmed.Load() {
		t.Error("the timer goes on for nothing")
	}
}

// A sequence that is about to be restarted may be in the kernel, on behalf of a page of the
// array that its CPU's stack had. When SetCapacity had unmapped that, the process got a
// SIGSEGV: once in 1.2 thousand million operations.
func TestRegressionArraysOutliveTheirStacks(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := newRig(t, 1)
	st := r.Slots.LockCPU(0, percpu.Main)
	places := st.Objects()
	st.Unlock()
	if err := r.SetCapacity(r.Capacity()+1, 0); err != nil {
		t.Fatal(err)
	}
	if len(r.pool.of) != 1 {
		t.Errorf("%d pools, that of the old capacity is still in use", len(r.pool.of))
	}
	if last := places[len(places)-1]; last != nil { // panics where it is unmapped
		t.Errorf("the array of a sheaf that is gone holds %p", last)
	}
}
