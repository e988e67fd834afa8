package percpu

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

const sysRseq = 334 // <asm/unistd_64.h>

// registrations are the environments in which threads are registered, by what Area says there.
func registrations(t *testing.T) map[ThreadArea][]string {
	preload := testutil.Preload(t, testutil.FakeAuxv)
	return map[ThreadArea][]string{
		{sys.OwnerLibc, ModeLegacy}:  {"GLIBC_TUNABLES=glibc.pthread.rseq=1"},
		{sys.OwnerSlubd, ModeLegacy}: testutil.OwnArea(preload, "28", "32"),
		{sys.OwnerSlubd, ModeV2}:     testutil.OwnArea(preload, "33", "64"),
	}
}

// eachArea runs a test in processes whose threads are registered in each of these ways, as child
// starts them.
func eachArea(t *testing.T, child func(testing.TB, ...string) bool, test func(t *testing.T)) {
	_, err := newRseq()
	needRseq(t, err)
	for want, env := range registrations(t) {
		t.Run(want.Owner+" "+want.Mode, func(t *testing.T) {
			if !child(t, append(env, "SLUBD_ENGINE=rseq")...) {
				return
			}
			if Engine() != "rseq" || Area() != want && want.Owner != sys.OwnerLibc {
				t.Fatalf("engine %s (%s), threads registered as %+v", Engine(), Reason(), Area())
			}
			test(t)
		})
	}
}

// TestOwnThreadArea runs the stress test with each kind of registration. Where it isn't libc's,
// every thread has to be registered on its first slow path.
func TestOwnThreadArea(t *testing.T) {
	eachArea(t, testutil.Child, func(t *testing.T) { stress(t, plainOps, testutil.Stress(t, 2_000_000)) })
}

// TestReadOnlyFields: of the area of a registered thread, sequences and their slow paths write to
// rseq_cs alone. Since Linux 7.1 the kernel kills a process that writes to another field in a long
// area.
func TestReadOnlyFields(t *testing.T) {
	control := new(uint64)
	testutil.NeedWatch(t, uintptr(unsafe.Pointer(control)), func() { atomic.StoreUint64(control, 1) })
	eachArea(t, testutil.WatchingChild, func(t *testing.T) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if registeredCPU() < 0 {
			t.Fatal("the thread is not registered")
		}
		area := threadPointer(t) + rseqOffset
		var stores [4]func() uint64
		for i := range stores {
			stores[i] = testutil.Watch(t, area+8*uintptr(i))
		}
		e, err := newRseq()
		if err != nil {
			t.Fatal(err)
		}
		e = withRegisters(e)
		for range 100 {
			err = errors.Join(err, selfTest(e), selfTestChoice(e), selfTestSlices(e), selfTestZero(e), selfTestNode(e), selfTestMarked(e))
		}
		if err != nil {
			t.Error(err)
		}
		for i, fields := range [...]string{"cpu_id_start or cpu_id", "rseq_cs", "flags or node_id", "mm_cid or behind"} {
			if n := stores[i](); (n > 0) != (fields == "rseq_cs") {
				t.Errorf("%d stores to %s", n, fields)
			}
		}
	})
}

// TestRefusedThread: a thread that the kernel refuses to register takes the slow path, and asks
// once. The engine says why it can't be had there. Other threads are registered.
func TestRefusedThread(t *testing.T) {
	_, err := newRseq()
	needRseq(t, err)
	for name, errno := range map[string]syscall.Errno{"EINVAL": syscall.EINVAL, "EBUSY": syscall.EBUSY,
		"EPERM": syscall.EPERM, "ENOSYS": syscall.ENOSYS} {
		t.Run(name, func(t *testing.T) {
			if !testutil.Child(t, "GLIBC_TUNABLES=glibc.pthread.rseq=0", "SLUBD_ENGINE=rseq") {
				return
			}
			slots := arrays(t, Main, 4)
			free := newFree(filter(slots, Main, testOwn), noFree)
			onNewThread(t, func() {
				err := sys.RefuseThread(sys.Refusal{Call: sysRseq, Errno: errno})
				testutil.NeedHost(t, "seccomp", "linux-image-amd64", err)
				if _, err := newRseq(); !errors.Is(err, errno) || !strings.HasPrefix(err.Error(), "rseq: ") {
					t.Errorf("the engine for such a thread: %v", err)
				}
				asked := errors.New("asked again")
				defer sys.FailNth(sys.CallRegisterRseq, 1, asked)()
				slow := 0
				pop := newPop(slots, Main, func() (unsafe.Pointer, error) { slow++; return nil, nil })
				for range 3 {
					_, _ = pop()
					if st, cpu := slots.TryLock(Main); st != nil {
						t.Errorf("got the lock of CPU %d", cpu)
					}
				}
				if cpu := rseqCPU(); cpu != sys.RseqRefused || slow != 3 || sys.CallRegisterRseq.InjectedErr() == nil {
					t.Errorf("cpu_id is %d, %d of 3 operations took the slow path, or the kernel was asked again", cpu, slow)
				}
			})
			onNewThread(t, func() {
				if registeredCPU() < 0 {
					t.Error("another thread can't be registered")
				}
				pop := newPop(slots, Main, noPop)
				free(object(1))
				if p, _ := pop(); p != object(1) {
					t.Errorf("another thread has popped %v", p)
				}
			})
		})
	}
}

// onNewThread runs f on a thread that has not registered for rseq.
func onNewThread(t *testing.T, f func()) {
	t.Helper()
	for range 100 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // for good: the next goroutine must get another thread
			fresh := rseqCPU() == sys.RseqUnregistered && syscall.Gettid() != os.Getpid()
			defer func() { done <- fresh; select {} }()
			if fresh {
				f()
			}
		}()
		if <-done {
			return
		}
	}
	t.Fatal("no new thread")
}
