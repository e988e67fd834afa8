package sys

import (
	"errors"
	"math/bits"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/testutil"
)

func TestAffinityOfTheThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	defer SetAffinity(before)
	cpu := pin(t)
	if here, _, err := CPU(); err != nil || here != cpu {
		t.Errorf("on CPU %d (%v) after SetAffinity to %d", here, err, cpu)
	}
	if err := SetAffinity(before); err != nil {
		t.Fatal(err)
	}
	if after, err := Affinity(); err != nil || !slices.Equal(after, before) {
		t.Errorf("affinity %x became %x, %v", before, after, err)
	}
	if err := SetAffinity(nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no CPU gives %v, want EINVAL", err)
	}
}

// pin moves the calling thread to the highest CPU that it may use.
func pin(t *testing.T) (cpu int) {
	t.Helper()
	mask, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range mask {
		if word != 0 {
			cpu = i*64 + bits.Len64(word) - 1
		}
		mask[i] = 0
	}
	mask[cpu/64] = 1 << (cpu % 64)
	if err := SetAffinity(mask); err != nil {
		t.Fatal(err)
	}
	if now, err := Affinity(); err != nil || !slices.Equal(now, mask) {
		t.Skipf("the kernel ignores affinity: asked for %x, got %x, %v", mask, now, err)
	}
	return cpu
}

// Registration is per process, so the test runs in a new one, where nothing is registered yet.
func TestMembarrier(t *testing.T) {
	const query = 0
	cmds, _, e := unix.Syscall(unix.SYS_MEMBARRIER, query, 0, 0)
	if e != 0 || cmds&membarrierRegisterPrivateRseq == 0 { // before Linux 5.10
		if err := MembarrierRseq(0); err == nil {
			t.Errorf("a barrier among commands %#x, %v", cmds, e)
		}
		return
	}
	out, isChild, err := testutil.Rerun(t)
	if !isChild {
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := MembarrierRseq(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("a barrier before registration gives %v, want EPERM", err)
	}
	if err := Membarrier(); !errors.Is(err, unix.EPERM) {
		t.Errorf("a barrier before registration gives %v, want EPERM", err)
	}
	for range 2 {
		if err := errors.Join(MembarrierRegister(), Membarrier()); err != nil {
			t.Fatal(err)
		}
		if err := MembarrierRegisterRseq(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cpu := range []int{-1, 0} {
		if err := MembarrierRseq(cpu); err != nil {
			t.Errorf("barrier for CPU %d: %v", cpu, err)
		}
	}
}
