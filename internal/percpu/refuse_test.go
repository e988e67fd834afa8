package percpu

import (
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestOwnLockRefuses takes the lock from its own CPU, by the engine's lock operation.
func TestOwnLockRefuses(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		restore, err := sys.Pin([]int{CPU()})
		if err != nil {
			t.Skipf("no affinity here: %v", err)
		}
		defer func() { _ = restore() }()
		slots := arrays(t, Main, 4)
		slow := 0
		pop := newPop(slots, Main, func() (unsafe.Pointer, error) { slow++; return nil, nil })
		free := newFree(filter(slots, Main, testOwn), func(unsafe.Pointer) { slow++ })
		free(object(1))
		st, cpu := slots.TryLock(Main)
		if st == nil || slow != 0 {
			t.Fatalf("free took %d slow paths, lock is %v", slow, st)
		}
		if p, _ := pop(); p != nil || slow != 1 {
			t.Errorf("popped from a stack that is held: %v", p)
		}
		if free(object(2)); slow != 2 || st.Size() != 1 {
			t.Error("pushed on a stack that is held")
		}
		st.Unlock()
		if p, _ := pop(); p != object(1) || slow != 2 {
			t.Errorf("after unlocking CPU %d's stack pop returns %v", cpu, p)
		}
	})
}

// TestFreeChecksRange has a table with owner words for more pages than the range has.
func TestFreeChecksRange(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 4)
		f := filter(slots, Main, testOwn)
		f.base += 8 << 12
		f.owners = unsafe.Add(f.owners, 8*4)
		f.pages = 8
		var refused []unsafe.Pointer
		free := newFree(f, func(p unsafe.Pointer) { refused = append(refused, p) })
		foreign := []unsafe.Pointer{object(8*64 - 1), object(16 * 64), object(17 * 64), unsafe.Add(object(8*64), 8)}
		for _, p := range foreign {
			free(p)
		}
		free(object(8 * 64))
		if len(refused) != len(foreign) {
			t.Errorf("%d of %d foreign objects were refused", len(refused), len(foreign))
		}
	})
}

// TestSlotsReachAllNumbers: the slots of every number that a sequence can have lie in the mapping,
// also for threads that aren't registered, and for CPUs that are not possible.
func TestSlotsReachAllNumbers(t *testing.T) {
	if kernelCPUs < NumCPU() {
		t.Errorf("the kernel numbers %d CPUs, %d are possible", kernelCPUs, NumCPU())
	}
	slots, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	for _, cpu := range []int{-2, -1, 0, NumCPU() - 1, kernelCPUs - 1} {
		for _, k := range []Kind{Main, RCU} {
			st := slots.Stack(cpu, k)
			if *st != (Stack{}) {
				t.Errorf("slot %d is not zeroed", cpu)
			}
			// Sequences only read the slots of numbers without a CPU, which are read-only.
			// Outside of the mapping the read faults as well.
			if cpu >= 0 && cpu < NumCPU() {
				st.seq++
				st.seq--
			} else if writable(&st.seq) {
				t.Errorf("slot %d has no CPU and is writable", cpu)
			}
		}
	}
}

// writable reports whether a word can be changed, and changes it then. The store is not atomic,
// since the race detector's atomic operations don't survive a fault.
func writable(word *uint64) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	*word++
	return true
}

// TestSnapshotWhileHeld has one goroutine change the words of a stack under its lock so that size =
// pushes - pops at the end of each hold, and checks what another goroutine reads.
func TestSnapshotWhileHeld(t *testing.T) {
	slots := arrays(t, Main, 8)
	objs := []unsafe.Pointer{object(1), object(2), object(3), object(4)}
	stop, started, done := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// No sequence runs here. So the gate alone is a sufficient lock, and holds can be as
			// short as a snapshot.
			st := slots.Stack(0, Main)
			for !st.tryLockLocal() {
			}
			if i == 1 {
				close(started)
			}
			for range (i + 1) % 4 {
				st.PushN(objs)
				st.fold()
				st.PopN(objs)
			}
			st.Unlock()
		}
	}()
	<-started
	seen := uint64(0)
	for range testutil.Stress(t, 100_000) {
		c := slots.Snapshot(0, Main)
		if c.Size != 0 || c.Pushes != c.Pops || c.Pushes%4 != 0 || c.Pushes < seen {
			t.Errorf("snapshot is %+v after %d pushes", c, seen)
			break
		}
		seen = c.Pushes
	}
	close(stop)
	<-done
	st := slots.Stack(0, Main)
	seq := st.seq
	if !st.untouched(seq) || !st.tryLockLocal() || st.untouched(seq) {
		t.Error("a held stack counts as untouched, or an open one doesn't")
	}
	if st.Unlock(); st.untouched(seq) {
		t.Error("a stack that was held meanwhile counts as untouched")
	}
	if seen == 0 {
		t.Error("the lock was never held meanwhile")
	}
}

// TestSequenceBeatsLockCPU has a lockStack commit between TryLockCPU's swap and the end of its
// barrier, as may happen.
func TestSequenceBeatsLockCPU(t *testing.T) {
	before := current
	defer func() { current = before }()
	slots := arrays(t, Main, 4)
	st := slots.Stack(0, Main)
	for name, overwrite := range map[string]func(){
		"holds it":    func() { st.gate = testOwn<<32 | heldMark },
		"has held it": func() { st.gate = testOwn<<32 | heldMark; st.Unlock() },
		"has held it before another took it": func() {
			st.gate = testOwn<<32 | heldMark
			st.Unlock()
			if _, ok := st.tryLock(newTicket()); !ok {
				t.Error("an unlocked stack can't be locked")
			}
		},
	} {
		current.fence = func(int) { overwrite() }
		if slots.TryLockCPU(0, Main) != nil {
			t.Errorf("two hold the lock when a sequence %s", name)
		}
		st.gate = testOwn << 32
	}
	current.fence = func(int) {}
	if slots.TryLockCPU(0, Main) != st || st.Own() != testOwn {
		t.Error("the lock was not taken, or the owner word is lost")
	}
	if st.Unlock(); st.gate != testOwn<<32 {
		t.Errorf("the open gate is %#x", st.gate)
	}
}

// TestTicketsAreNeverZero has a sequence beat every TryLockCPU, with tickets from a counter that is
// about to carry: with ticket 0 TryLockCPU would take the sequence's gate for its own.
func TestTicketsAreNeverZero(t *testing.T) {
	before, count := current, tickets.Load()
	defer func() { current = before; tickets.Store(count) }()
	slots := arrays(t, Main, 4)
	st := slots.Stack(0, Main)
	current.fence = func(int) { st.gate = testOwn<<ownShift | heldMark }
	for bits := range 33 {
		tickets.Store(uint32(1<<bits - 1))
		if slots.TryLockCPU(0, Main) != nil {
			t.Errorf("two hold the lock after %d tickets", uint64(1)<<bits-1)
		}
		st.Unlock()
		tickets.Store(uint32(1<<bits - 1))
		if n := newTicket(); n&heldMark != 0 || n>>ownShift != 0 {
			t.Errorf("ticket %#x is not in a gate's low half, or marks the gate as held", n)
		}
	}
}
