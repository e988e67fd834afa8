package sheaves

import (
	"errors"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// staleSheaves counts sheaves of another than the set's capacity in stacks and barns.
func (s *Set) staleSheaves() (n int) {
	odd := func(sh *sheaf) {
		if sh != nil && s.staleCapacity(sh) {
			n++
		}
	}
	for i := range s.barns {
		b := &s.barns[i]
		b.mu.Lock()
		b.full.all(odd)
		b.empty.all(odd)
		b.mu.Unlock()
	}
	for cpu := range percpu.NumCPU() {
		for _, k := range []percpu.Kind{percpu.Main, percpu.RCU} {
			st := s.slots.LockCPU(cpu, k)
			odd(sheafOf(st.Sheaf))
			odd(sheafOf(st.Spare))
			st.Unlock()
		}
	}
	return n
}

func (r *rig) resize(capacity int) {
	r.t.Helper()
	if err := r.SetCapacity(capacity, 3); err != nil {
		r.t.Fatal(err)
	}
}

// expectOneCapacity fails the test if a sheaf of another capacity is in use, or its memory is kept.
func (r *rig) expectOneCapacity() {
	r.t.Helper()
	if n := r.staleSheaves(); n > 0 || len(r.pool.of) != 1 {
		r.t.Errorf("%d sheaves of another capacity are in use, %d pools are mapped", n, len(r.pool.of))
	}
}

// TestSetCapacity: a sheaf of the old capacity is replaced wherever it is.
func TestSetCapacity(t *testing.T) {
	for _, capacity := range []int{1, 3, 9, 200} {
		r := newRig(t, 1)
		r.arrange(state{main: 3, spare: 4, full: 2, empty: 1})
		p := r.take(1)[0]
		if !r.TryFreeRCU(p, 0, MayWait) {
			t.Fatal("FreeRCU refused")
		}
		r.gone(p)
		l, err := r.Prefill(4)
		if err != nil {
			t.Fatal(err)
		}
		r.setSpare(4) // the last spare is lent
		r.resize(capacity)
		if n := r.staleSheaves(); n > 0 {
			t.Errorf("capacity %d: %d sheaves of the old one", capacity, n)
		}
		if got := r.state(); got != (state{main: 0, spare: none}) {
			t.Errorf("capacity %d: state %+v", capacity, got)
		}
		if st := r.Stats(); st.Capacity != capacity || st.MaxWaiting != 3 || st.Barns[0].Waiting != 1 {
			t.Errorf("capacity %d: %+v", capacity, st)
		}
		r.barrier()
		if r.Return(l); r.Stats().MainObjects != 0 {
			t.Error("a loan of the old capacity became the spare")
		}
		r.expectOneCapacity()
		r.resize(capacity)
		r.resize(4)
		r.expectOneCapacity()
	}
}

// TestStaleSheafIsGivenBack: a walk that held a sheaf while the capacity changed gives it back to
// its pool.
func TestStaleSheafIsGivenBack(t *testing.T) {
	unlock := func(st *percpu.Stack) {
		if st != nil {
			st.Unlock()
		}
	}
	for name, walk := range map[string]func(r *rig, old *sheaf, b *barn){
		"relock":      func(r *rig, old *sheaf, b *barn) { unlock(r.relock(old, b, own(0))) },
		"installRoom": func(r *rig, old *sheaf, b *barn) { r.flushSheaf(old); unlock(r.installRoom(old, b, own(0))) },
		"return":      func(r *rig, old *sheaf, b *barn) { r.Return(Loan{sh: old}) },
		"return, with a spare": func(r *rig, old *sheaf, b *barn) {
			r.setSpare(0)
			r.Return(Loan{sh: old})
		},
		"returnReclaimed": func(r *rig, old *sheaf, b *barn) { r.returnReclaimed(old, b) },
		"putInBarn":       func(r *rig, old *sheaf, b *barn) { r.putInBarn(old, b) },
		"tryPutInBarn": func(r *rig, old *sheaf, b *barn) {
			if r.tryPutInBarn(old, b) {
				r.t.Error("the barn took it")
			}
			r.discard(old)
		},
		"replaceFull": func(r *rig, old *sheaf, b *barn) {
			b.put(r.sheafWith(0))
			if _, why := b.replaceFull(old, 2); why != busy {
				r.t.Errorf("refusal %d, want %d", why, busy)
			}
			r.discard(old)
		},
		"replaceEmpty": func(r *rig, old *sheaf, b *barn) {
			r.flushSheaf(old)
			b.put(r.sheafWith(2))
			if b.replaceEmpty(old) != nil {
				r.t.Error("the barn took it")
			}
			r.discard(old)
		},
		"installRCU": func(r *rig, old *sheaf, b *barn) {
			r.flushSheaf(old)
			b.mu.Lock()
			b.empty.push(old) // as if the barn had yet to be visited
			b.unlock()
			st, _ := r.installRCU(0, own(0), MayWait)
			unlock(st)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			old := r.sheafWith(4)
			r.resize(9)
			walk(r, old, &r.barns[0])
			r.expectOneCapacity()
		})
	}
}

// TestPrefillDuringSetCapacity: a loan holds what was promised even if the capacity that Prefill
// has read is not that of the sheaves yet.
func TestPrefillDuringSetCapacity(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: 4})
	r.capacity.Store(8)
	l, err := r.Prefill(8)
	r.capacity.Store(4)
	if err != nil || l.Size() < 8 {
		t.Fatalf("%d objects of 8: %v", l.Size(), err)
	}
	r.Return(l)
}

// TestCapacityMemory: the memory of old sheaves is given back, except for those that are lent.
func TestCapacityMemory(t *testing.T) {
	r := newRig(t, 1)
	l, err := r.Prefill(4)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		r.resize(5 + i%200)
		if n := len(r.pool.of); n > 2 {
			t.Fatalf("%d pools are mapped after %d changes", n, i+1)
		}
		if n := len(r.pool.of[r.Capacity()].chunks); n > 1 {
			t.Fatalf("%d chunks are mapped after %d changes", n, i+1)
		}
	}
	r.Return(l)
	r.expectOneCapacity()
}

// TestSetCapacityRefused: errors change nothing.
func TestSetCapacityRefused(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 3, spare: 4, full: 2, empty: 1})
	for want, err := range map[string]error{
		"Capacity: -1 is not within 1..32767":                 r.SetCapacity(-1, 0),
		"Capacity: 32768 is not within 1..32767":              r.SetCapacity(percpu.MaxCap+1, 0),
		"MaxWaiting: 2147483648 is not within -1..2147483647": r.SetCapacity(5, 1<<31),
		"MaxFull: -2 is not within -1..2147483647":            r.SetLimits(-2, 0),
		"MaxEmpty: 2147483648 is not within -1..2147483647":   r.SetLimits(0, 1<<31),
	} {
		if !errors.Is(err, ErrConfig) || err.Error() != "sheaves: bad config: "+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// Two of the largest sheaves are two mappings.
	for n := 1; n <= percpu.NumCPU(); n++ {
		restore := sys.FailNth(sys.CallReserve, n, syscall.ENOMEM)
		err := r.SetCapacity(percpu.MaxCap, 0)
		restore()
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("mapping %d failed, and SetCapacity returned %v", n, err)
		}
		r.expectOneCapacity()
	}
	if got := r.state(); got != (state{main: 3, spare: 4, full: 2, empty: 1}) || r.Capacity() != 4 {
		t.Errorf("state %+v, capacity %d", got, r.Capacity())
	}
	r.Close()
	for _, capacity := range []int{4, 5} {
		if err := r.SetCapacity(capacity, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want %v", err, ErrClosed)
		}
	}
}

// TestSetLimits: sheaves beyond the limits are freed at once, and the new limits hold.
func TestSetLimits(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4, full: 2, empty: 2})
	if err := r.SetLimits(1, None); err != nil {
		t.Fatal(err)
	}
	r.expect(state{main: 4, spare: 4, full: 1}, events{SheafFlush: 4, SheafFree: 3})
	if st := r.Stats(); st.MaxFull != 1 || st.MaxEmpty != 0 {
		t.Errorf("limits are %d and %d", st.MaxFull, st.MaxEmpty)
	}
	p := r.take(1)[0]
	if !r.TryFree(p, 0) {
		t.Fatal("Free refused")
	}
	r.gone(p)
	r.expect(state{main: 1, spare: 4, full: 1}, events{SheafFlush: 8, SheafFree: 3, BarnPutFail: 1})
}

// TestSetCapacityLeaksNoSheaf: In the kernel, aliases of kmalloc caches were given sheaves twice
// when the late boot code did so for each name, and the first ones leaked. Here only SetCapacity
// makes sheaves for a Set that is in use: those that it replaces are freed, and those that it has
// made are freed when it fails halfway.
func TestSetCapacityLeaksNoSheaf(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 4, full: 1, empty: 1})
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
	if gone := before - made(); gone != 3 {
		t.Errorf("%d sheaves fewer than before, want 3 fewer", gone)
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

// TestArraysOutliveTheirStacks: A sequence that is about to be restarted may be in the kernel, on
// behalf of a page of the array that its CPU's stack had. When SetCapacity had unmapped that page,
// the process got a SIGSEGV: once in 1.2 thousand million operations.
func TestArraysOutliveTheirStacks(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := newRig(t, 1)
	st := r.slots.LockCPU(0, percpu.Main)
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
