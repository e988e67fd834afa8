package percpu

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// withoutInstruction runs a test under the trylock engine as on a processor that has no instruction
// for the CPU's number.
func withoutInstruction(t *testing.T, test func()) {
	aux, engine := auxCPU, current
	auxCPU, current = nil, newTrylock()
	defer func() { auxCPU, current = aux, engine }()
	for p := range cpuOfP {
		cpuOfP[p].cpu.Store(0)
	}
	test()
}

// onEachCPU calls f on every CPU that the process may use.
func onEachCPU(t *testing.T, f func(cpu int)) {
	mask := allowed()
	for cpu := range highest(mask) {
		if mask[cpu/64]>>(cpu%64)&1 == 0 {
			continue
		}
		func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			restore, err := sys.Pin([]int{cpu})
			if testutil.NeedHost(t, "CPU affinity", "util-linux", err); err != nil {
				return
			}
			defer func() { _ = restore() }()
			f(cpu)
		}()
	}
}

// TestCPUWithoutInstruction: a slow path finds the CPU that the caller runs on, whatever the number
// of its P, and the P's next operations use that CPU's stack.
func TestCPUWithoutInstruction(t *testing.T) {
	// With one P no other goroutine's slow path can note another CPU for it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	withoutInstruction(t, func() {
		onEachCPU(t, func(cpu int) {
			if now := CPUNow(); now != cpu {
				t.Errorf("pinned to CPU %d, and CPUNow is %d", cpu, now)
			}
			if at := CPU(); at != cpu {
				t.Errorf("pinned to CPU %d, and CPU is %d after CPUNow", cpu, at)
			}
		})
		slots := arrays(t, Main, 4)
		onEachCPU(t, func(cpu int) { // an empty stack has the P looked for
			st, at := slots.TryLock(Main)
			if st == nil || at != cpu {
				t.Fatalf("pinned to CPU %d, and the lock is CPU %d's", cpu, at)
			}
			st.Unlock()
			if at := CPU(); at != cpu {
				t.Errorf("pinned to CPU %d, and CPU is %d afterwards", cpu, at)
			}
		})
		for cpu := range NumCPU() {
			st := slots.LockCPU(cpu, Main)
			st.PushN([]unsafe.Pointer{object(1), object(2)})
			st.Unlock()
		}
		onEachCPU(t, func(cpu int) { // another one, now and then
			for range 16 {
				st, at := slots.TryLock(Main)
				if st == nil {
					t.Fatal("not locked")
				}
				st.Unlock()
				if at == cpu {
					return
				}
			}
			t.Errorf("pinned to CPU %d, and 16 locks have not found it", cpu)
		})
		defer sys.FailNth(sys.CallCPU, 0, sys.ErrUnsupported)()
		defer noGetcpu.Store(false)
		for range 2 { // without getcpu there is a number for the P
			if cpu := CPUNow(); cpu < 0 || cpu >= NumCPU() {
				t.Errorf("CPU %d of %d", cpu, NumCPU())
			}
		}
	})
}

// TestLockNoWaitMakesNoCall: the lock of callers that must not wait asks the kernel nothing.
func TestLockNoWaitMakesNoCall(t *testing.T) {
	withoutInstruction(t, func() {
		slots := Slots{cells(t, 1)[0]}
		defer sys.FailNth(sys.CallCPU, 0, sys.ErrUnsupported)()
		if st, _ := slots.TryLockNoWait(Main); st != nil {
			st.Unlock()
		}
		if noGetcpu.Load() {
			noGetcpu.Store(false)
			t.Error("the kernel was asked for the CPU")
		}
	})
}
