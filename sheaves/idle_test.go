package sheaves

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TestIdleCPUs: a CPU that has not used its sheaves for two calls of FlushIdle loses what they
// hold; one that has keeps it. This CPU is as good as one that has gone offline: nothing but its
// stacks is looked at.
func TestIdleCPUs(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 3})
	for range 4 {
		obj, err := r.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		r.got(obj)
		r.Free(obj)
		r.gone(obj)
		r.FlushIdle()
	}
	r.FlushIdle()
	if now := r.slots.Snapshot(r.cpu, percpu.Main); now.Size+now.Spare != 5 {
		t.Errorf("a CPU in use has %d and %d objects, want 5", now.Size, now.Spare)
	}
	r.FlushIdle()
	if now := r.slots.Snapshot(r.cpu, percpu.Main); now.Size+now.Spare != 0 || now.Seq == 0 {
		t.Errorf("an idle CPU has %d and %d objects", now.Size, now.Spare)
	}
	seq := r.slots.Snapshot(r.cpu, percpu.Main).Seq
	r.FlushIdle()
	if now := r.slots.Snapshot(r.cpu, percpu.Main).Seq; now != seq {
		t.Error("the lock of a CPU that has nothing was taken")
	}
	if got, want := r.state(), (state{main: 0, spare: none}); got != want {
		t.Errorf("state %+v, want %+v", got, want)
	}
}

// TestExchangesAreUse: a CPU whose objects are taken and put back by Locals alone is in use.
func TestExchangesAreUse(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 3})
	var objs [2]unsafe.Pointer
	for range 2 * idleCalls {
		taken := r.Take(objs[:])
		if put, cheap := r.Put(objs[:], 0); taken != 2 || put != 2 || !cheap {
			t.Fatalf("took %d of 2 objects, and put %d back, without the Source: %v", taken, put, cheap)
		}
		r.FlushIdle()
	}
	if now := r.slots.Snapshot(r.cpu, percpu.Main); now.Size+now.Spare != 5 {
		t.Errorf("a CPU in use has %d and %d objects, want 5", now.Size, now.Spare)
	}
}

// TestGiveBack: barns and CPUs give everything back, and what is ready after its grace period; the
// second time there is nothing to do, and no lock is taken for it.
func TestGiveBack(t *testing.T) {
	r := newRig(t, 1)
	for _, s := range []state{{main: 3, spare: 2, full: 2}, {main: 0, spare: 4}, {main: 4, spare: none}, {main: 0, spare: none, full: 1}} {
		r.arrange(s)
		want := s.main + max(0, s.spare) + 4*s.full
		if n := r.GiveBack(); n != want {
			t.Errorf("%+v: %d objects were given back, want %d", s, n, want)
		}
		seq := r.slots.Snapshot(r.cpu, percpu.Main).Seq
		if n, now := r.GiveBack(), r.slots.Snapshot(r.cpu, percpu.Main).Seq; n != 0 || now != seq {
			t.Errorf("%+v: another %d objects, %d locks", s, n, now-seq)
		}
		if st := r.Stats(); st.MainObjects != 0 || st.Barns[0].Objects != 0 {
			t.Errorf("%+v: left %+v", s, st)
		}
	}
	for _, p := range r.take(3) {
		r.FreeRCU(p)
		r.gone(p)
	}
	r.StartAll()
	if err := r.domain.Synchronize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.GiveBack(); n != 3 {
		t.Errorf("%d of 3 objects whose grace period is over were given back", n)
	}
}

// TestGiveBackWithoutSheaves: where the kernel has no memory for an empty sheaf, main is emptied in
// place.
func TestGiveBackWithoutSheaves(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4})
	r.outOfMemory()
	if n := r.GiveBack(); n != 8 {
		t.Errorf("%d of 8 objects were given back", n)
	}
}

// TestCloseWaitsForGiveBack: the objects that a GiveBack or a FlushCPU moves are back before Close
// returns, and what comes later takes nothing.
func TestCloseWaitsForGiveBack(t *testing.T) {
	for name, giveBack := range map[string]func(*rig) (moved int){
		"GiveBack": func(r *rig) int { return r.GiveBack() },
		"FlushCPU": func(r *rig) int {
			before := r.src.away()
			r.FlushCPU(r.cpu)
			return before - r.src.away()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 3, spare: 2, full: 1})
			closed := make(chan struct{})
			r.src.onFlush = func() {
				go func() { defer close(closed); r.Close() }()
				doesNotHappen(t, "Close returned while sheaves were being given back", closed)
			}
			giveBack(r)
			<-closed
			if n := giveBack(r); n != 0 {
				t.Errorf("a closed set has given %d objects back", n)
			}
		})
	}
}
