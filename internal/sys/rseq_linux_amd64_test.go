package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/testutil"
)

// Whether libc or this package owns the area, that of a registered thread says where the thread
// runs.
func TestRseqArea(t *testing.T) {
	area, err := RseqArea()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || area.Owner == OwnerLibc && RseqSize() < 20 || area.Owner != OwnerLibc && area.Owner != OwnerSlubd {
		t.Fatalf("%+v, %v", area, err)
	}
	tracksCPU(t, area)
}

func TestRseqAreaOfOurOwn(t *testing.T) {
	out, isChild, err := testutil.Rerun(t, "GLIBC_TUNABLES=glibc.pthread.rseq=0")
	if !isChild {
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	area, err := RseqArea()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || area.Owner != OwnerSlubd {
		t.Fatalf("%+v, %v", area, err)
	}
	runtime.LockOSThread()
	if cpu := cpuID(t, threadArea(t, area)); cpu != -1 {
		t.Errorf("cpu_id is %d before registration", cpu)
	}
	tracksCPU(t, area)
	if err := RegisterRseq(); err != nil {
		t.Errorf("a second registration: %v", err)
	}
	unregisteredAtExit(t, area)
}

// tracksCPU registers the thread and checks that the kernel keeps its area up to date.
func tracksCPU(t *testing.T, area Rseq) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := RegisterRseq(); errors.Is(err, unix.ENOSYS) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	before, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	defer SetAffinity(before)
	want := pin(t)
	if cpu := cpuID(t, threadArea(t, area)); int(cpu) != want {
		t.Errorf("cpu_id is %d on CPU %d", cpu, want)
	}
}

// unregisteredAtExit ends threads that have registered. When the key's destructor unregisters a
// thread, the kernel sets cpu_id to -1; without that, it stays at the last CPU. The test uses
// several threads, since a new thread may get the memory of a dead one and initialize it.
func unregisteredAtExit(t *testing.T, area Rseq) {
	t.Helper()
	var areas [8]uintptr
	var tids [len(areas)]int
	var met, ended sync.WaitGroup
	met.Add(len(tids))
	for i := range tids {
		ended.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			areas[i], tids[i] = threadArea(t, area), unix.Gettid()
			if err := RegisterRseq(); err != nil {
				t.Error(err)
			}
			if cpu := cpuID(t, areas[i]); cpu < 0 {
				t.Errorf("cpu_id is %d after registration", cpu)
			}
			met.Done()
			met.Wait()
		})
	}
	ended.Wait()
	for i, tid := range tids {
		if tid == os.Getpid() {
			continue // the main thread, which Go never ends
		}
		for alive := true; alive; {
			time.Sleep(time.Millisecond)
			_, err := os.Stat(fmt.Sprint("/proc/self/task/", tid))
			alive = err == nil
		}
		// A thread's block begins with its own address, unless other memory is there by now.
		threadPointer := areas[i] - area.Offset
		if cpu := cpuID(t, areas[i]); cpu != -1 && word(t, threadPointer) == uint64(threadPointer) {
			t.Errorf("cpu_id is %d after the thread's end", cpu)
		}
	}
}

// threadArea returns the address of the calling thread's area.
func threadArea(t *testing.T, area Rseq) uintptr {
	const archGetFS = 0x1003
	var threadPointer uintptr
	if _, _, e := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archGetFS, uintptr(unsafe.Pointer(&threadPointer)), 0); e != 0 {
		t.Error(e)
	}
	return threadPointer + area.Offset
}

// cpuID reads an area's cpu_id, or -1 where nothing is mapped any more, and so nothing is stale.
func cpuID(t *testing.T, addr uintptr) int32 { return int32(word(t, addr) >> 32) }

// word reads a word through the kernel, because the area of a dead thread may be unmapped. Then it
// returns one whose bits are all set.
func word(t *testing.T, addr uintptr) uint64 {
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip(err)
	}
	defer mem.Close()
	var w [8]byte
	if _, err := mem.ReadAt(w[:], int64(addr)); err != nil {
		return 1<<64 - 1
	}
	return binary.LittleEndian.Uint64(w[:])
}
