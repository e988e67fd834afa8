package sheaves

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
)

// newFresh makes a Set of which no CPU has used anything.
func newFresh(t *testing.T) (*Set, *source) {
	t.Helper()
	src := newSource(t, 1)
	s, err := New(Config{Source: src, Domain: new(rcu.Domain), Capacity: 4, MaxFull: 2, MaxEmpty: 2, Delay: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	return s, src
}

// TestFirstSheaf: a CPU gets its sheaf with its first operation, of whatever kind, and no other CPU
// gets one.
func TestFirstSheaf(t *testing.T) {
	type operation func(t *testing.T, s *Set, obj unsafe.Pointer)
	for name, first := range map[string]operation{
		"Alloc": func(t *testing.T, s *Set, obj unsafe.Pointer) {
			p, err := s.Alloc()
			if err != nil {
				t.Error(err)
			}
			s.Free(p)
			s.Free(obj)
		},
		"Free":      func(_ *testing.T, s *Set, obj unsafe.Pointer) { s.Free(obj) },
		"TryFree":   func(_ *testing.T, s *Set, obj unsafe.Pointer) { s.TryFree(obj, 0) },
		"FreeBulk":  func(_ *testing.T, s *Set, obj unsafe.Pointer) { s.FreeBulk([]unsafe.Pointer{obj}, 0) },
		"AllocBulk": func(_ *testing.T, s *Set, obj unsafe.Pointer) { s.AllocBulk(nil); s.Free(obj) },
		"Prefill": func(t *testing.T, s *Set, obj unsafe.Pointer) {
			l, err := s.Prefill(2)
			if err != nil {
				t.Error(err)
			}
			s.Return(l)
			s.Free(obj)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, src := newFresh(t)
			if cpus := slices.Collect(s.slots.CPUs()); len(cpus) > 0 {
				t.Errorf("CPUs %v have used a new set", cpus)
			}
			src.take(0, 1)
			obj := src.take(0, 1)[0]
			var used []int
			if err := RunPinned([]int{0}, func() {
				first(t, s, obj)
				used = slices.Collect(s.slots.CPUs())
			}); err != nil {
				t.Fatal(err)
			}
			if len(used) != 1 {
				t.Errorf("CPUs %v have used the set", used)
			}
			for cpu := range percpu.NumCPU() {
				main := s.slots.Snapshot(cpu, percpu.Main)
				if has := main.HasSheaf; has != slices.Contains(used, cpu) {
					t.Errorf("CPU %d of %v has a sheaf: %v", cpu, used, has)
				}
			}
			if n := s.Stats().MainObjects; n == 0 {
				t.Error("no sheaf has the object")
			}
			s.Close()
			if away := src.away(); away != 1 {
				t.Errorf("%d objects are out after Close, want 1", away)
			}
		})
	}
}

// TestFirstFreeRCU: so does the stack of rcu_free.
func TestFirstFreeRCU(t *testing.T) {
	s, src := newFresh(t)
	if !s.TryFreeRCU(src.take(0, 1)[0], 0, MayWait) {
		t.Error("the first object was refused")
	}
	if n := s.Stats().RCUObjects; n != 1 {
		t.Errorf("%d objects in rcu_free", n)
	}
	s.Close()
	if away := src.away(); away != 0 {
		t.Errorf("%d objects are out after Close", away)
	}
}

// TestFirstAllocNoWait: a CPU's first allocation may be one that must not wait. It takes a full
// sheaf of the barn's, and no new one.
func TestFirstAllocNoWait(t *testing.T) {
	s, src := newFresh(t)
	if p := s.TryAllocNoWait(); p != nil {
		t.Error("an object came from nowhere")
	}
	full, err := s.newSheaf(4)
	if err != nil {
		t.Fatal(err)
	}
	full.size = uint32(copy(full.slots(), src.take(0, 4)))
	s.barns[0].put(full)
	made := s.Stats().Events[SheafAlloc]
	p := s.TryAllocNoWait()
	if p == nil || s.Stats().Events[SheafAlloc] != made || s.Stats().MainObjects != 3 {
		t.Errorf("got %v, and %+v", p, s.Stats())
	}
	s.Free(p)
	s.Close()
	if away := src.away(); away != 0 {
		t.Errorf("%d objects are out after Close", away)
	}
	if p := s.TryAllocNoWait(); p != nil || s.TryFree(nil, 0) {
		t.Error("a closed set has objects")
	}
}

// TestFirstUseDuringClose: whether a CPU's first operations come before, during or after Close, no
// object and no sheaf is left behind.
func TestFirstUseDuringClose(t *testing.T) {
	for range testutil.Stress(t, 300) {
		s, src := newFresh(t)
		objs := src.take(0, 8)
		var ready, others sync.WaitGroup
		ready.Add(len(objs))
		for i, obj := range objs {
			others.Go(func() {
				ready.Done()
				ready.Wait()
				if i%2 == 0 {
					s.Free(obj)
				} else {
					s.FreeRCU(obj)
				}
				if p, err := s.Alloc(); err == nil {
					s.Free(p)
				}
			})
		}
		ready.Wait()
		runtime.Gosched()
		s.Close()
		others.Wait()
		s.Close()
		for cpu := range percpu.NumCPU() {
			for _, k := range []percpu.Kind{percpu.Main, percpu.RCU} {
				if now := s.slots.Snapshot(cpu, k); now.HasSheaf || now.HasSpare || now.Size > 0 {
					t.Fatalf("CPU %d of a closed set has %+v", cpu, now)
				}
			}
		}
		if err := s.domain.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if away := src.away(); away != 0 {
			t.Fatalf("%d objects are out after Close", away)
		}
	}
}

// TestIdleSetInterruptsNothing: neither a new Set's Shrink and Close nor the second Shrink of one
// that was used interrupt a CPU, nor do Barrier, GiveBack, FlushIdle and Stats.
func TestIdleSetInterruptsNothing(t *testing.T) {
	s, src := newFresh(t)
	interruptions := func(f func()) uint64 {
		before := percpu.Fences()
		f()
		return percpu.Fences() - before
	}
	idle := func(when string) {
		t.Helper()
		for name, f := range map[string]func(){
			"Shrink": s.Shrink, "TryShrink": s.TryShrink, "FlushIdle": s.FlushIdle, "StartAll": s.StartAll,
			"GiveBack": func() { s.GiveBack() }, "Stats": func() { s.Stats() }, "tick": s.timer.Fire,
			"Barrier": func() {
				if err := s.Barrier(t.Context()); err != nil {
					t.Error(err)
				}
			},
		} {
			if n := interruptions(f); n > 0 {
				t.Errorf("%s of %s set makes %d interruptions", name, when, n)
			}
		}
	}
	idle("a new")
	for _, obj := range src.take(0, 3) {
		s.Free(obj)
	}
	if n := interruptions(s.Shrink); n == 0 || src.away() > 0 {
		t.Errorf("Shrink made %d interruptions, %d objects are out", n, src.away())
	}
	idle("an emptied")
	used := len(slices.Collect(s.slots.CPUs()))
	if n, most := interruptions(s.closeStacks), uint64(min(used, 2)); n > most {
		t.Errorf("closing the stacks of %d CPUs made %d interruptions, want at most %d", used, n, most)
	}
	s.Close()
	fresh, _ := newFresh(t)
	if n := interruptions(fresh.closeStacks); n > 0 {
		t.Errorf("closing the stacks of a new set made %d interruptions", n)
	}
	fresh.Close()
}

// TestManyPossibleCPUs runs the two tests above as on a machine with 2,048 possible CPUs, and sees
// that a Set doesn't take memory for them.
func TestManyPossibleCPUs(t *testing.T) {
	const cpus = 2048
	if os.Getenv("SLUBD_TEST_CPUS") != "" {
		if percpu.NumCPU() != cpus {
			t.Fatalf("%d possible CPUs", percpu.NumCPU())
		}
		t.Run("first", TestFirstSheaf)
		t.Run("rcu", TestFirstFreeRCU)
		t.Run("idle", TestIdleSetInterruptsNothing)
		return
	}
	possible := t.TempDir() + "/possible"
	if err := os.WriteFile(possible, fmt.Appendf(nil, "0-%d\n", cpus-1), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `mount --bind "$0" /sys/devices/system/cpu/possible && exec "$@"`
	try := exec.Command("unshare", "-m", "sh", "-c", script, possible, "true")
	if out, err := try.CombinedOutput(); err != nil {
		testutil.NeedHost(t, "a mount namespace", "", fmt.Errorf("%w: %s", err, out))
	}
	self := exec.Command("unshare", "-m", "sh", "-c", script, possible, os.Args[0], "-test.run=^TestManyPossibleCPUs$")
	self.Env = append(os.Environ(), "SLUBD_TEST_CPUS=1")
	if out, err := self.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
