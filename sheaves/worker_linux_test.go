package sheaves

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// allowed reads which CPUs a thread may run on, "" if it has ended.
func allowed(tid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
	_, list, _ := strings.Cut(string(status), "Cpus_allowed_list:")
	list, _, _ = strings.Cut(list, "\n")
	return strings.TrimSpace(list)
}

func TestRunPinned(t *testing.T) {
	everywhere := allowed(syscall.Gettid())
	for _, end := range []func(){func() {}, runtime.Goexit} {
		tid, during := 0, ""
		err := RunPinned([]int{0}, func() {
			tid = syscall.Gettid()
			during = allowed(tid)
			end()
		})
		if err != nil || during != "0" {
			t.Errorf("worked on CPUs %q: %v", during, err)
		}
		eventually(t, "the thread gets its CPUs back", func() bool {
			after := allowed(tid)
			return after == everywhere || after == ""
		})
	}
}

func TestRunPinnedRefused(t *testing.T) {
	defer sys.FailNth(sys.CallSetAffinity, 1, syscall.EINVAL)()
	work := func() { t.Error("work has run") }
	if err := RunPinned([]int{0}, work); !errors.Is(err, ErrNotPinned) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a refusal gave %v", err)
	}
	for _, cpus := range [][]int{nil, {-1}, {0, percpu.NumCPU()}} {
		if err := RunPinned(cpus, work); !errors.Is(err, ErrNotPinned) || !errors.Is(err, sys.ErrCPU) {
			t.Errorf("CPUs %v gave %v", cpus, err)
		}
	}
}

// TestRunPinnedEndsThread: a thread that stays restricted must never run another goroutine.
func TestRunPinnedEndsThread(t *testing.T) {
	defer sys.FailNth(sys.CallSetAffinity, 2, syscall.EPERM)()
	tid := 0
	if err := RunPinned([]int{0}, func() { tid = syscall.Gettid() }); err != nil {
		t.Fatal(err)
	}
	if tid == os.Getpid() {
		t.Skip("the worker had the main thread, which is put aside instead")
	}
	eventually(t, "the thread ends", func() bool { return allowed(tid) == "" })
}
