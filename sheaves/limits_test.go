package sheaves

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// foreign counts sheaves of another than the set's capacity in stacks and barns.
func (s *Set) foreign() (n int) {
	odd := func(sh *sheaf) {
		if sh != nil && s.retired(sh) {
			n++
		}
	}
	for i := range s.barns {
		b := &s.barns[i]
		b.mu.Lock()
		for _, sh := range []*sheaf{b.full.head, b.empty.head} {
			for ; sh != nil; sh = sh.next {
				odd(sh)
			}
		}
		b.mu.Unlock()
	}
	for cpu := range percpu.NumCPU() {
		for _, k := range []percpu.Kind{percpu.Main, percpu.RCU} {
			st := s.Slots.LockCPU(cpu, k)
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

// pure fails the test if a sheaf of another capacity is anywhere, or its memory kept.
func (r *rig) pure() {
	r.t.Helper()
	if n := r.foreign(); n > 0 || len(r.pool.of) != 1 {
		r.t.Errorf("%d sheaves of another capacity are in use, %d pools are mapped", n, len(r.pool.of))
	}
}

// TestSetCapacity: wherever a sheaf of the old capacity may be, it goes.
func TestSetCapacity(t *testing.T) {
	for _, capacity := range []int{1, 3, 9, 200} {
		r := newRig(t, 1)
		r.arrange(state{3, 4, 2, 1})
		p := r.take(1)[0]
		if !r.FreeRCU(p, own(0), true) {
			t.Fatal("FreeRCU refused")
		}
		r.gone(p)
		l, err := r.Prefill(4)
		if err != nil {
			t.Fatal(err)
		}
		r.setSpare(4) // the last one is lent
		r.resize(capacity)
		if n := r.foreign(); n > 0 {
			t.Errorf("capacity %d: %d sheaves of the old one", capacity, n)
		}
		if got := r.state(); got != (state{0, none, 0, 0}) {
			t.Errorf("capacity %d: state %+v", capacity, got)
		}
		if st := r.Stats(); st.Capacity != capacity || st.MaxWaiting != 3 || st.Barns[0].Waiting != 1 {
			t.Errorf("capacity %d: %+v", capacity, st)
		}
		r.barrier()
		if r.Return(l); r.Stats().MainObjects != 0 {
			t.Error("a loan of the old capacity became the spare")
		}
		r.pure()
		r.resize(capacity)
		r.resize(4)
		r.pure()
	}
}

// TestOvertaken: whoever had a sheaf in hand when the capacity changed gives it up.
func TestOvertaken(t *testing.T) {
	unlock := func(st *percpu.Stack) {
		if st != nil {
			st.Unlock()
		}
	}
	for name, walk := range map[string]func(r *rig, old *sheaf, b *barn){
		"relock":       func(r *rig, old *sheaf, b *barn) { unlock(r.relock(old, b)) },
		"installEmpty": func(r *rig, old *sheaf, b *barn) { r.flushSheaf(old); unlock(r.installEmpty(old, b, own(0))) },
		"return":       func(r *rig, old *sheaf, b *barn) { r.Return(Loan{sh: old}) },
		"return, with a spare": func(r *rig, old *sheaf, b *barn) {
			r.setSpare(0)
			r.Return(Loan{sh: old})
		},
		"house": func(r *rig, old *sheaf, b *barn) { r.house(old, b) },
		"stow":  func(r *rig, old *sheaf, b *barn) { r.stow(old, b) },
		"tryStow": func(r *rig, old *sheaf, b *barn) {
			if r.tryStow(old, b) {
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
			st, _ := r.installRCU(0, own(0), true)
			unlock(st)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			old := r.sheafWith(4)
			r.resize(9)
			walk(r, old, &r.barns[0])
			r.pure()
		})
	}
}

// TestPrefillOvertaken: a loan holds what was promised although the capacity that
// Prefill has read isn't that of the sheaves yet.
func TestPrefillOvertaken(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, 4, 0, 0})
	r.capacity.Store(8)
	l, err := r.Prefill(8)
	r.capacity.Store(4)
	if err != nil || l.Size() < 8 {
		t.Fatalf("%d objects of 8: %v", l.Size(), err)
	}
	r.Return(l)
}

// TestCapacityMemory: the memory of old sheaves is given back, but for what is lent.
func TestCapacityMemory(t *testing.T) {
	r := newRig(t, 1)
	l, err := r.Prefill(4)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		r.resize(5 + i%200)
		if n := len(r.pool.of); n > 2 {
			t.Fatalf("%d pools are mapped after %d changes", n, i+1)
		}
		if n := len(r.pool.of[r.Capacity()].chunks); n > 1 {
			t.Fatalf("%d chunks are mapped after %d changes", n, i+1)
		}
	}
	r.Return(l)
	r.pure()
}

// TestSetCapacityRefused: errors change nothing.
func TestSetCapacityRefused(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{3, 4, 2, 1})
	for want, err := range map[string]error{
		"Capacity: 0 is not within 1..32767":               r.SetCapacity(0, 0),
		"Capacity: 32768 is not within 1..32767":           r.SetCapacity(percpu.MaxCap+1, 0),
		"MaxWaiting: -1 is not within 0..2147483647":       r.SetCapacity(5, -1),
		"MaxFull: -1 is not within 0..2147483647":          r.SetLimits(-1, 0),
		"MaxEmpty: 2147483648 is not within 0..2147483647": r.SetLimits(0, 1<<31),
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
		r.pure()
	}
	if got := r.state(); got != (state{3, 4, 2, 1}) || r.Capacity() != 4 {
		t.Errorf("state %+v, capacity %d", got, r.Capacity())
	}
	r.Close()
	for _, capacity := range []int{4, 5} {
		if err := r.SetCapacity(capacity, 0); !errors.Is(err, errClosed) {
			t.Errorf("%v, want %v", err, errClosed)
		}
	}
}

// TestSetLimits: what is beyond goes at once, and the new limits hold.
func TestSetLimits(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, 4, 2, 2})
	if err := r.SetLimits(1, 0); err != nil {
		t.Fatal(err)
	}
	r.expect(state{4, 4, 1, 0}, events{Flushed: 4, SheafFree: 3})
	if st := r.Stats(); st.MaxFull != 1 || st.MaxEmpty != 0 {
		t.Errorf("limits are %d and %d", st.MaxFull, st.MaxEmpty)
	}
	p := r.take(1)[0]
	if !r.Free(p, own(0)) {
		t.Fatal("Free refused")
	}
	r.gone(p)
	r.expect(state{1, 4, 1, 0}, events{Flushed: 8, SheafFree: 3, BarnPutFail: 1})
}
